//! The notices of the trail about itself.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A notice of the trail about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "notice", rename_all = "camelCase")]
pub enum Notice {
    /// A process began to write the trail.
    Started {
        /// The version of sandgate that began to write.
        version: Cow<'static, str>,
    },
    /// Records were lost since the last such line, or since the start.
    Dropped {
        /// The number of records that were lost.
        records: u64,
    },
    /// The line before was found cut off, and ended.
    Torn {
        /// The length of the line that was cut off, in bytes.
        bytes: u64,
    },
}

impl Notice {
    pub(super) const STARTED: Self = Self::Started { version: Cow::Borrowed(env!("CARGO_PKG_VERSION")) };

    /// Appends the line, with its newline.
    pub(super) fn append_to(self, lines: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Line {
            time: String,
            #[serde(flatten)]
            notice: Notice,
        }
        let line = Line { time: jiff::Timestamp::now().to_string(), notice: self };
        serde_json::to_writer(&mut *lines, &line).expect("writing JSON to memory cannot fail");
        lines.push(b'\n');
    }
}
