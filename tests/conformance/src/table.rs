//! The table of scenario by language: as it came out, and as it was committed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Outcome;

/// Cells by row and column; both are shown in the order in which they first came.
#[derive(Default)]
pub struct Table {
    rows: Vec<String>,
    columns: Vec<String>,
    cells: BTreeMap<(String, String), String>,
}

/// What a cell of a scenario that went well says.
pub const OK: &str = "ok";

impl Table {
    /// Sets a cell; a failure that is there already stays.
    pub fn set(&mut self, row: &str, column: &str, cell: &str) {
        add(&mut self.rows, row);
        add(&mut self.columns, column);
        let place = self.cells.entry((row.to_string(), column.to_string())).or_default();
        if place.is_empty() || *place == OK {
            *place = cell.to_string();
        }
    }

    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    pub fn get(&self, row: &str, column: &str) -> &str {
        self.cells.get(&(row.to_string(), column.to_string())).map_or("-", String::as_str)
    }

    /// As text: a line for each row, columns aligned.
    pub fn to_text(&self) -> String {
        let first = self.rows.iter().map(String::len).max().unwrap_or(0);
        let width = |column: &String| {
            let cells = self.rows.iter().map(|row| self.get(row, column).len());
            cells.chain([column.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.columns.iter().map(width).collect();
        let line = |first_cell: &str, cells: Vec<&str>| {
            let mut line = format!("{first_cell:first$}");
            for (cell, width) in cells.iter().zip(&widths) {
                line.push_str(&format!("  {cell:width$}"));
            }
            format!("{}\n", line.trim_end())
        };
        let mut text = line("", self.columns.iter().map(String::as_str).collect());
        for row in &self.rows {
            text += &line(row, self.columns.iter().map(|column| self.get(row, column)).collect());
        }
        text
    }

    /// What `to_text` wrote.
    pub fn parse(text: &str) -> Table {
        let mut table = Table::default();
        let mut lines = text.lines();
        let columns: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        for line in lines {
            let mut cells = line.split_whitespace();
            let row = cells.next().unwrap_or_default();
            for (column, cell) in columns.iter().zip(cells) {
                if cell != "-" {
                    table.set(row, column, cell);
                }
            }
        }
        table
    }

    /// Where this differs from the committed table, in the rows and columns that were run; everywhere, if all were.
    pub fn differences(&self, committed: &Table, whole: bool) -> Vec<String> {
        let mut differences = Vec::new();
        let mut rows = self.rows.clone();
        let mut columns = self.columns.clone();
        if whole {
            committed.rows.iter().for_each(|row| add(&mut rows, row));
            committed.columns.iter().for_each(|column| add(&mut columns, column));
        }
        for row in &rows {
            for column in &columns {
                let (found, expected) = (self.get(row, column), committed.get(row, column));
                if found != expected {
                    differences.push(format!(
                        "{row}, {column}: '{found}', and '{expected}' in the committed table"
                    ));
                }
            }
        }
        differences
    }
}

/// The committed table; an empty one if there is none yet.
pub fn committed(path: &Path) -> Outcome<Table> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Table::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Table::default()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written_and_differs_where_a_cell_does() {
        let mut table = Table::default();
        table.set("close", "rust", OK);
        table.set("close", "mixed", OK);
        table.set("propose", "rust", "FAILED");
        table.set("propose", "rust", OK);
        let text = table.to_text();
        let mut committed = Table::parse(&text);
        assert_eq!(committed.to_text(), text);
        assert!(table.differences(&committed, true).is_empty());
        committed.set("reads", "rust", OK);
        assert!(table.differences(&committed, false).is_empty());
        assert_eq!(table.differences(&committed, true).len(), 1);
        assert_eq!(table.get("propose", "rust"), "FAILED", "a failure stays");
    }
}
