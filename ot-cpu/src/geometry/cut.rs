//! How the atoms of a side are cut into tasks and panels, by the shape of the problem alone.

use std::ops::Range;

use ot_core::host::HostVector;

use super::CpuScalar;
use super::rows::{TASKS, most_tasks, pieces, task_atoms};

/// The most atoms of a panel: as many lanes as the programs of a penalty work on at a time.
pub(super) const PANEL: usize = 128;

/// Columns of a batch that share a pass over entries.
pub(super) const GROUP: usize = 64;

/// Target atoms of a panel.
const PANEL_OF_COLUMNS: usize = 64;

/// The fewest rows of a task of a batch, whose sums of columns are worth a fold.
const BATCH_TASK: usize = 128;

/// Tasks of whole panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) atoms: usize,
    task: usize,
    panel: usize,
}

impl Cut {
    /// Source atoms in panels of this many, for so many columns of a batch at a time.
    pub(super) fn of_rows(atoms: usize, others: usize, panel: usize, columns: usize) -> Self {
        let fewest = if columns > 1 { BATCH_TASK } else { 1 };
        Self { atoms, task: task_atoms(atoms, others).max(fewest).next_multiple_of(panel), panel }
    }

    /// The most tasks of source atoms, for groups of up to so many columns of a batch.
    pub(super) fn most_tasks(atoms: usize, others: usize, columns: usize) -> usize {
        if columns > 1 { most_tasks(others).min(atoms.div_ceil(BATCH_TASK)) } else { most_tasks(others) }
    }

    /// Target atoms, the sums of which are folded.
    pub(super) fn of_columns(atoms: usize) -> Self {
        // A column of a task costs as many additions as there are tasks, not as many as there are rows.
        Self { atoms, task: task_atoms(atoms, TASKS).next_multiple_of(PANEL_OF_COLUMNS), panel: PANEL_OF_COLUMNS }
    }

    /// Number of tasks, [`TASKS`] at most.
    pub(super) fn tasks(self) -> usize {
        self.atoms.div_ceil(self.task)
    }

    /// Atoms of a task; the last has fewer.
    pub(super) fn task_atoms(self) -> usize {
        self.task
    }

    /// Atoms of a panel; the last of a task may have fewer.
    pub(super) fn panel_atoms(self) -> usize {
        self.panel
    }

    /// The panels of a task.
    pub(super) fn panels(self, task: usize) -> impl Iterator<Item = Range<usize>> {
        pieces(task * self.task..self.atoms.min((task + 1) * self.task), self.panel)
    }

    /// Calls `visit(k, atoms, lanes)` for the lanes of each panel and each of so many columns: numbers of tasks lie
    /// panel after panel, those of a panel column after column.
    pub(super) fn for_lanes<N>(self, columns: usize, staged: &[N], mut visit: impl FnMut(usize, Range<usize>, &[N])) {
        for task in 0..self.tasks() {
            for panel in self.panels(task) {
                let lanes = &staged[panel.start * columns..panel.end * columns];
                for (k, lanes) in lanes.chunks(panel.len()).enumerate() {
                    visit(k, panel.clone(), lanes);
                }
            }
        }
    }

    /// Copies staged numbers to the columns of a vector.
    pub(super) fn scatter<T: CpuScalar>(self, staged: &[T], group: &[usize], out: &mut HostVector<T>) {
        self.for_lanes(group.len(), staged, |k, atoms, lanes| {
            out.column_mut(group[k])[atoms].copy_from_slice(lanes);
        });
    }
}
