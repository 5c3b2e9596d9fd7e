//! Pages for people, parts of which are written by a command: between `<!-- NAME -->` and `<!-- /NAME -->`.

use std::{fs, ops::Range, path::PathBuf};

use super::Result;

/// A page of this checkout.
pub struct GeneratedDocs {
    path: PathBuf,
    text: String,
}

impl GeneratedDocs {
    /// Reads it; `path` begins at the top of the checkout.
    ///
    /// # Errors
    /// Returns an error if it is not there.
    pub fn read(path: &str) -> Result<Self> {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, text })
    }

    /// Returns the text of a part.
    ///
    /// # Errors
    /// Returns an error if the page has no such part.
    pub fn part(&self, name: &str) -> Result<&str> {
        Ok(&self.text[self.range(name)?])
    }

    /// Writes a part anew.
    ///
    /// # Errors
    /// Returns an error if the page has no such part, or cannot be written.
    pub fn write(&mut self, name: &str, part: &str) -> Result<()> {
        self.text.replace_range(self.range(name)?, part);
        Ok(fs::write(&self.path, &self.text)?)
    }

    fn range(&self, name: &str) -> Result<Range<usize>> {
        let missing = || format!("{} has no part {name:?}", self.path.display());
        let opening = format!("<!-- {name} -->\n");
        let begin = self.text.find(&opening).ok_or_else(missing)? + opening.len();
        let length = self.text[begin..].find(&format!("<!-- /{name} -->")).ok_or_else(missing)?;
        Ok(begin..begin + length)
    }
}
