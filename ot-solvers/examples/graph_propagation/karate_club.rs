//! Zachary's karate club (1977): see `examples/graphs/PROVENANCE.md`.

use std::error::Error;

use ot_core::Graph;

/// Friendships, and the side that each member took.
pub struct KarateClub {
    pub graph: Graph,
    /// Did the member follow the officer when the club split?
    pub with_officer: Vec<bool>,
}

impl KarateClub {
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let (mut edges, mut with_officer) = (Vec::new(), Vec::new());
        for line in include_str!("../graphs/karate_club.txt").lines().filter(|line| !line.starts_with('#')) {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [one, other, weight] => edges.push(([one.parse()?, other.parse()?], weight.parse()?)),
                [_, faction] => with_officer.push(faction == "O"),
                _ => return Err(format!("no edge and no member: {line}").into()),
            }
        }
        Ok(Self { graph: Graph::new(with_officer.len(), edges)?, with_officer })
    }
}
