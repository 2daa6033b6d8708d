//! Owns tables: columns three spaces apart and at least ten wide.

/// Lines of cells below a heading.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text; the last column is as wide as it is.
    pub fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let widest = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            (widest.unwrap_or(0) + 3).max(10)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if index + 1 < columns {
                    out.extend(std::iter::repeat_n(' ', widths[index] - cell.chars().count()));
                }
            }
            out.push('\n');
        }
        out
    }
}

/// At most `width` characters, the last one `…` where there were more.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Twelve digits of an id, without what hashed it.
pub fn short(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, digest)| digest);
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["ID", "A LONG HEADING", "LAST"]);
        table.row(vec!["1".into(), "é".into(), "x".into()]);
        assert_eq!(table.text(), "ID        A LONG HEADING   LAST\n1         é                x\n");
    }

    #[test]
    fn cut_short() {
        assert_eq!(ellipsis("0123456789", 10), "0123456789");
        assert_eq!(ellipsis("0123456789x", 10), "012345678…");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("0123"), "0123");
    }
}
