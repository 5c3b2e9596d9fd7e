//! Rows of a table and of CSV, without formulas and control characters.

use sandgate_engine::text::sanitize;

/// A row of CSV, as RFC 4180 has it.
pub(super) fn csv(cells: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut row = csv::Writer::from_writer(Vec::new());
    for cell in cells {
        row.write_field(harmless(cell.as_ref())).expect("writing to memory cannot fail");
    }
    row.write_record(None::<&[u8]>).expect("writing to memory cannot fail");
    row.into_inner().expect("writing to memory cannot fail")
}

/// A spreadsheet takes what begins so for a formula, and computes it when the file is opened.
fn harmless(cell: &str) -> String {
    let cell = sanitize(cell);
    if cell.trim_start().starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell }
}

/// A row of a table. The columns are as wide as `widths` or what stands in them; the last one is as long as it is.
pub(super) fn row(cells: &[&str], widths: &[usize]) -> String {
    let mut row = String::new();
    for (index, cell) in cells.iter().enumerate() {
        let cell = if cell.is_empty() { "-".into() } else { sanitize(cell) };
        let width = widths.get(index).copied().unwrap_or_default();
        row.push_str(&cell);
        if index + 1 < cells.len() {
            row.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
    }
    row.push('\n');
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_leaves_its_row() {
        let cells = [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(A1)",
            " =1",
            "a,b",
            "quote \"x\"",
            "a\nb",
            "",
            "plain=1",
        ];
        let row = String::from_utf8(csv(cells)).unwrap();
        assert_eq!(
            row,
            "'=cmd|' /C calc'!A0,'+1,'-1,'@SUM(A1),' =1,\"a,b\",\"quote \"\"x\"\"\",a\u{fffd}b,,plain=1\n"
        );
    }

    #[test]
    fn a_row_is_one_line_whatever_stands_in_it() {
        assert_eq!(row(&["a", "b\u{1b}[2J\nc", ""], &[3, 5]), "a    b\u{fffd}[2J\u{fffd}c  -\n");
    }
}
