//! What a kernel is told: named numbers, which are fields of a structure in its shader.

use std::{
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
};

use ot_core::Program;

use crate::{
    device::WgpuDevice,
    vector::{DeviceReduced, DeviceVector},
    wgsl::Arithmetic,
};

/// The most words that a kernel can be told.
pub(crate) const MAX_WORDS: usize = 512;

/// Named words, and a list of words at their end. The first is a zero that the shader's compiler cannot see: see the
/// function `opaque` of the shader library.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    fields: Vec<(String, &'static str)>,
    words: Vec<u32>,
}

impl Arguments {
    pub(crate) fn new() -> Self {
        Self { fields: vec![("zero".into(), "u32")], words: vec![0] }
    }

    /// A count or an index.
    pub(crate) fn index(&mut self, name: impl Into<String>, value: usize) -> &mut Self {
        self.word(name, "u32", u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// A number.
    pub(crate) fn number(&mut self, name: impl Into<String>, value: f64) -> &mut Self {
        self.word(name, "f32", (value as f32).to_bits())
    }

    /// A number as a pair: `name_high` and `name_low`.
    pub(crate) fn pair(&mut self, name: &str, value: f64) -> &mut Self {
        let [high, low] = split(value);
        self.word(format!("{name}_high"), "f32", high.to_bits());
        self.word(format!("{name}_low"), "f32", low.to_bits())
    }

    /// Where a vector starts, and the numbers from a column to the next: `name_at` and `name_stride`.
    pub(crate) fn vector<D: WgpuDevice>(&mut self, name: &str, vector: &DeviceVector<D>) -> &mut Self {
        self.word(format!("{name}_at"), "u32", vector.start());
        self.index(format!("{name}_stride"), if vector.columns() == 1 { 0 } else { vector.rows() })
    }

    /// The same of a reduced vector, whose numbers are pairs.
    pub(crate) fn reduced(&mut self, name: &str, reduced: &DeviceReduced) -> &mut Self {
        self.word(format!("{name}_at"), "u32", reduced.start());
        self.index(format!("{name}_stride"), if reduced.len() == 1 { 0 } else { 2 })
    }

    /// The start of a piece of memory.
    pub(crate) fn place(&mut self, name: impl Into<String>, start: u32) -> &mut Self {
        self.word(name, "u32", start)
    }

    /// The values of the parameters of a program, as [`parameter`](Self::parameter) names them.
    pub(crate) fn parameters(&mut self, name: &str, program: &Program, arithmetic: Arithmetic) -> &mut Self {
        for (index, &value) in program.parameters().iter().enumerate() {
            let name = format!("{name}{index}");
            match arithmetic {
                Arithmetic::Single => self.number(name, value),
                Arithmetic::Pair => self.pair(&name, value),
            };
        }
        self
    }

    /// How a shader reads a parameter of a program.
    pub(crate) fn parameter(name: &str, index: usize, arithmetic: Arithmetic) -> String {
        match arithmetic {
            Arithmetic::Single => format!("P.{name}{index}"),
            Arithmetic::Pair => format!("vec2<f32>(P.{name}{index}_high, P.{name}{index}_low)"),
        }
    }

    /// Room for the list at the end.
    pub(crate) fn room(&self) -> usize {
        MAX_WORDS.saturating_sub(self.words.len())
    }

    /// The same with a list at the end, which the shader reads as `P.list`.
    pub(crate) fn with_list(&self, list: impl IntoIterator<Item = u32>) -> Vec<u32> {
        self.words.iter().copied().chain(list).collect()
    }

    /// What tells layouts apart: names and types of the fields, in order.
    pub(crate) fn layout(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.fields.hash(&mut hasher);
        hasher.finish()
    }

    /// The structure in WGSL.
    pub(crate) fn declaration(&self) -> String {
        let mut text = String::from("struct Arguments {\n");
        for (name, kind) in &self.fields {
            let _ = writeln!(text, "  {name}: {kind},");
        }
        text + "  list: array<u32>,\n}\n"
    }

    fn word(&mut self, name: impl Into<String>, kind: &'static str, word: u32) -> &mut Self {
        self.fields.push((name.into(), kind));
        self.words.push(word);
        self
    }
}

/// The pair of numbers of single precision whose sum is nearest.
pub(crate) fn split(value: f64) -> [f32; 2] {
    let high = value as f32;
    [high, if high.is_finite() { (value - f64::from(high)) as f32 } else { 0.0 }]
}

/// The number that a pair stands for.
pub(crate) fn joined([high, low]: [f32; 2]) -> f64 {
    if high.is_finite() && low.is_finite() { f64::from(high) + f64::from(low) } else { f64::from(high) }
}
