//! A part of a factor as panels, for substitutions.

use std::ops::Range;

use super::columns::Columns;
use crate::simd::{self, Level, PANEL, Panel, Panels};

/// What a panel costs beside its rows, and a row of it beside its entries, in entries.
const PANEL_COST: usize = 24;
const ROW_COST: usize = 3;

/// The columns of some rows of a factor. Its right-hand sides are those of its own rows and then of the rows of the top that
/// its columns reach.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The vertices of its own rows.
    vertices: Vec<u32>,
    /// Which rows of the top follow, counted from the first of the top.
    boundary: Vec<u32>,
    panels: Vec<Panel>,
    /// Rows of the right-hand sides, group of columns after group.
    rows: Vec<u32>,
    entries: Vec<f64>,
}

impl Part {
    /// The columns of a range of an order, of a factor whose top begins at a row.
    pub(super) fn new(range: Range<usize>, top: usize, order: &[u32], columns: &Columns) -> Self {
        let mut is_reached = vec![false; columns.len() - top];
        for column in range.clone() {
            let beyond = columns.rows(column).iter().rev().take_while(|&&row| row as usize >= range.end);
            beyond.for_each(|&row| is_reached[row as usize - top] = true);
        }
        let boundary: Vec<u32> =
            (0..).zip(is_reached).filter(|(_, is_reached)| *is_reached).map(|(row, _)| row).collect();
        let local = |row: usize| match row < range.end {
            true => row - range.start,
            false => range.len() + boundary.partition_point(|&reached| (reached as usize) < row - top),
        };
        let vertices = order[range.clone()].to_vec();
        let mut part = Self { vertices, boundary: vec![], panels: vec![], rows: vec![], entries: vec![] };
        for group in groups(range.clone(), columns) {
            let below = columns.rows(group.end - 1).iter().map(|&row| row as usize);
            let rows: Vec<usize> = group.clone().chain(below).collect();
            let start = part.rows.len();
            part.rows.extend(rows.iter().map(|&row| local(row) as u32));
            for first in group.clone().step_by(PANEL) {
                let width = PANEL.min(group.end - first);
                let after = first + width - group.start;
                part.panels.push(Panel {
                    first: (first - range.start) as u32,
                    columns: width as u32,
                    rows: [(start + after) as u32, part.rows.len() as u32],
                });
                part.add_entries(first..first + width, &rows[after..], columns);
            }
        }
        Self { boundary, ..part }
    }

    /// Adds the entries of a panel of some columns, in rows below them that all share.
    fn add_entries(&mut self, panel: Range<usize>, below: &[usize], columns: &Columns) {
        let width = panel.len();
        self.entries.extend(&columns.inverses()[panel.clone()]);
        let mut pair = self.entries.len();
        let rows = pair + width * (width - 1) / 2;
        self.entries.resize(rows + width * below.len(), 0.0);
        for (place, column) in panel.clone().enumerate() {
            // Both lists ascend.
            let mut at = 0;
            for (&row, &ratio) in columns.rows(column).iter().zip(columns.ratios(column)) {
                let row = row as usize;
                if row < panel.end {
                    self.entries[pair + row - column - 1] = ratio;
                    continue;
                }
                at += below[at..].iter().take_while(|&&other| other < row).count();
                self.entries[rows + width * at + place] = ratio;
            }
            pair += width - place - 1;
        }
    }

    /// How many rows its right-hand sides have.
    pub(super) fn len(&self) -> usize {
        self.vertices.len() + self.boundary.len()
    }

    /// The vertices of its own rows.
    pub(super) fn vertices(&self) -> &[u32] {
        &self.vertices
    }

    /// Which rows of the top follow.
    pub(super) fn boundary(&self) -> &[u32] {
        &self.boundary
    }

    fn panels(&self) -> Panels<'_, f64> {
        Panels { panels: &self.panels, rows: &self.rows, entries: &self.entries }
    }

    /// L^-1 x in the place of x, and what is to be added to the rows of the top.
    pub(super) fn forward<const W: usize>(&self, x: &mut [[f64; W]]) {
        x[self.vertices.len()..].fill([0.0; W]);
        simd::forward(Level::detected(), self.panels(), x);
    }

    /// L^-T D^-1 x in the place of x, where the rows of the top are solved.
    pub(super) fn backward<const W: usize>(&self, x: &mut [[f64; W]]) {
        simd::backward(Level::detected(), self.panels(), x);
    }
}

/// Neighbouring columns that are treated as if they had the same rows, with zeros where they have not, as long as a
/// substitution becomes cheaper by it (relaxed supernodes: Ashcraft, Grimes 1989).
fn groups(range: Range<usize>, columns: &Columns) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut group = range.end..range.end;
    for column in range.rev() {
        let rows = columns.rows(column);
        // What is eliminated into a column of the group has no row that the group has not.
        let joins = rows.first().is_some_and(|&parent| (parent as usize) < group.end) && {
            let below = columns.rows(group.end - 1).len();
            cost(group.len() + 1, below) <= cost(group.len(), below) + cost(1, rows.len())
        };
        if joins {
            group.start = column;
        } else {
            let end = group.start;
            groups.push(std::mem::replace(&mut group, column..end));
        }
    }
    groups.push(group);
    groups.retain(|group| !group.is_empty());
    groups.reverse();
    groups
}

/// What a substitution with some columns costs that share some rows below them.
fn cost(columns: usize, below: usize) -> usize {
    let panel = |first: usize| {
        let width = PANEL.min(columns - first);
        PANEL_COST + (columns - first - width + below) * (ROW_COST + width)
    };
    (0..columns).step_by(PANEL).map(panel).sum()
}
