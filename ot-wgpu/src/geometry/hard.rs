//! The hard c-transform, and the arcs of small reduced cost.

use ot_core::{ArcThreshold, Error, HardTransform, PricedArc, Side};

use super::{
    costs::FORBIDDEN,
    kernel::WgpuKernel,
    row_pass::{Cut, Place, RowPass, launch, listed},
};
use crate::{
    backend::Wgpu,
    gpu::{Arguments, Key, Launch, MAX_GROUPS},
    vector::DeviceVector,
};

/// Invocations of a workgroup that joins.
const WORKGROUP: usize = 64;

/// Words of an arc: source, target, reduced cost.
const ARC_WORDS: usize = 3;

impl HardTransform<Wgpu> for WgpuKernel {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &DeviceVector,
        log_weights: &DeviceVector,
        out: &mut DeviceVector,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (costs, rows) = (&*self.costs, self.costs.len(side));
        let minimisers = costs.gpu.take(rows * out.columns(), "minimisers")?;
        let mut arguments = Arguments::new();
        costs.tell(side, &mut arguments);
        arguments.vector("potential", potential).vector("logarithms", log_weights);
        let columns: Vec<u32> = (0..out.columns() as u32).collect();
        for columns in columns.chunks(listed(rows)) {
            let cut = Cut::new(costs, side, columns.len(), 1);
            let found = costs.gpu.take(2 * rows * cut.splits * columns.len(), "partial minima")?;
            let mut arguments = arguments.clone();
            arguments.place("found", found.start()).index("listed", columns.len());
            let key = costs.key("minima", side, &cut.options());
            launch(costs, side, cut, &key, &|| self.minimum_source(side, cut), &arguments, columns)?;

            let mut arguments = Arguments::new();
            arguments.index("rows", rows).index("listed", columns.len()).index("splits", cut.splits);
            arguments.place("found", found.start()).place("out", out.start()).place("minimisers", minimisers.start());
            let groups = rows.div_ceil(WORKGROUP);
            costs.gpu.launch(&Launch {
                key: &Key { kernel: "minima of minima", formulas: Vec::new(), options: Vec::new() },
                source: &minimum_of_minima,
                arguments: &arguments,
                list: columns,
                windows: None,
                groups: [groups.min(MAX_GROUPS), columns.len(), groups.div_ceil(MAX_GROUPS)],
                pairs: 0,
            })?;
        }
        if let Some(argument) = argument {
            *argument = costs.gpu.read(&[(minimisers.start(), rows * out.columns())])?.concat();
        }
        Ok(())
    }

    /// Two passes, of which the first counts the arcs of each row and split, and two reads.
    fn arcs_below(
        &mut self,
        source_potential: &DeviceVector,
        target_potential: &DeviceVector,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (costs, side) = (&*self.costs, Side::Source);
        let (rows, cut) = (costs.len(side), Cut::new(&self.costs, side, 1, 2));
        let counts = costs.gpu.take(rows * cut.splits, "counts of arcs")?;
        let mut arguments = Arguments::new();
        costs.tell(side, &mut arguments);
        arguments.vector("own_potential", source_potential).vector("potential", target_potential);
        arguments.number("base", threshold.base.clamp(-1e38, 1e38)).place("counts", counts.start());
        let of_atoms = match threshold.atoms {
            None => None,
            Some(atoms) => {
                let words = |atoms: &[f64]| atoms.iter().map(|&value| (value as f32).to_bits()).collect::<Vec<_>>();
                let [s, t] = atoms.map(words);
                let [s, t] = [costs.gpu.upload(&s, "thresholds")?, costs.gpu.upload(&t, "thresholds")?];
                arguments.place("own_threshold", s.start()).place("threshold", t.start());
                Some([s, t])
            }
        };
        let (has_atoms, list) = (of_atoms.is_some(), [column as u32]);
        let [tile, own, lanes] = cut.options();
        let options = |is_list: bool| [tile, own, lanes, u32::from(has_atoms), u32::from(is_list)];
        let key = costs.key("arcs", side, &options(false));
        launch(costs, side, cut, &key, &|| self.arc_source(cut, has_atoms, false), &arguments, &list)?;

        let counted = costs.gpu.read(&[(counts.start(), rows * cut.splits)])?.concat();
        let total = counted.iter().map(|&count| u64::from(count)).sum::<u64>();
        let refused = || Error::OutOfMemory { what: "arcs", bytes: (4 * ARC_WORDS) as u64 * total };
        let len = usize::try_from(total).ok().filter(|&len| len <= limit).ok_or_else(refused)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let arcs = costs.gpu.take(ARC_WORDS.checked_mul(len).ok_or_else(refused)?, "arcs")?;
        let starts = counted.iter().scan(0, |next, count| Some(std::mem::replace(next, *next + count)));
        costs.gpu.write(&starts.collect::<Vec<u32>>(), counts.start())?;
        arguments.place("arcs", arcs.start());
        let key = costs.key("arcs", side, &options(true));
        launch(costs, side, cut, &key, &|| self.arc_source(cut, has_atoms, true), &arguments, &list)?;
        let words = costs.gpu.read(&[(arcs.start(), ARC_WORDS * len)])?.concat();
        let (arcs, _) = words.as_chunks::<ARC_WORDS>();
        let arc = |&[source, target, cost]: &[u32; ARC_WORDS]| PricedArc {
            source,
            target,
            reduced_cost: f64::from(f32::from_bits(cost)),
        };
        Ok(arcs.iter().map(arc).collect())
    }
}

impl WgpuKernel {
    /// The least of C - potential over the atoms with mass of a chunk, and the first atom that has it.
    fn minimum_source(&self, side: Side, cut: Cut) -> String {
        let pass = RowPass {
            fields: vec![("tile_potential", "select(-1.0e38f, potential, is_inside && logarithm > -0.5e30f)".into())],
            fill: "let logarithm = load(P.logarithms_at + column * P.logarithms_stride + other);
let potential = load(P.potential_at + column * P.potential_stride + other);
"
            .into(),
            start: format!("var least# = {FORBIDDEN:e}f;\nvar place# = 0xffffffffu;\n"),
            end: "let at = P.found + 2u * ((split * P.listed + list_place) * P.rows + row#);
store(at, least#);
S[at + 1u] = place#;
"
            .into(),
            ..RowPass::default()
        };
        pass.source(&self.costs, side, cut, &|step| {
            let of_place = |place: &Place<'_>| {
                let (Place { row, lane, index, cost }, potential) = (place, place.field("tile_potential"));
                format!(
                    "let value{row}_{lane} = {cost} - {potential};
if (value{row}_{lane} < min(least{row}, 5.0e37f) && {cost} < 1.0e38f) {{ least{row} = value{row}_{lane}; place{row} = {index}; }}
"
                )
            };
            step.places.iter().map(of_place).collect()
        })
    }

    /// Arcs of a row and a split: counted, or listed from where their counts say.
    fn arc_source(&self, cut: Cut, has_atoms: bool, is_list: bool) -> String {
        let counted = "P.counts + row# * P.splits + split";
        let (own, field) = match has_atoms {
            true => ("P.base + load(P.own_threshold + own#)", "load(P.threshold + other)"),
            false => ("P.base", "0.0f"),
        };
        let potential = "load(P.potential_at + column * P.potential_stride + other)";
        let first = if is_list { "S[P.counts + own# * P.splits + split]" } else { "0u" };
        let pass = RowPass {
            fields: vec![("tile_potential", potential.into()), ("tile_threshold", field.into())],
            start: format!(
                "let own_potential# = load(P.own_potential_at + column * P.own_potential_stride + own#);
let highest# = {own};
var count# = {first};
"
            ),
            end: if is_list { String::new() } else { format!("S[{counted}] = count#;\n") },
            ..RowPass::default()
        };
        pass.source(&self.costs, Side::Source, cut, &|step| {
            let of_place = |place: &Place<'_>| {
                let Place { row, lane, index, cost } = place;
                let [potential, threshold] = ["tile_potential", "tile_threshold"].map(|name| place.field(name));
                let listed = match is_list {
                    true => format!(
                        "let at = P.arcs + {ARC_WORDS}u * count{row}; S[at] = row{row}; S[at + 1u] = {index}; store(at + 2u, price{row}_{lane}); "
                    ),
                    false => String::new(),
                };
                let is_pair = format!("row{row} < P.rows && {index} < end && {cost} < 1.0e38f");
                format!(
                    "let price{row}_{lane} = ({cost} - own_potential{row}) - {potential};
if (price{row}_{lane} <= highest{row} + {threshold} && {is_pair}) {{ {listed}count{row}++; }}
"
                )
            };
            step.places.iter().map(of_place).collect()
        })
    }
}

/// The least of the minima of splits, and the first atom that has it.
fn minimum_of_minima() -> String {
    format!(
        "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {{
let row = (group.x + group.z * {MAX_GROUPS}u) * {WORKGROUP}u + id.x;
if (row >= P.rows) {{ return; }}
let column = P.list[group.y];
var least = {FORBIDDEN:e}f;
var place = 0xffffffffu;
for (var split = 0u; split < P.splits; split++) {{
let at = P.found + 2u * ((split * P.listed + group.y) * P.rows + row);
let value = load(at);
if (value < least) {{ least = value; place = S[at + 1u]; }}
}}
let out = column * P.rows + row;
store(P.out + out, select(1.0e30f, least, place != 0xffffffffu));
S[P.minimisers + out] = place;
}}
"
    )
}
