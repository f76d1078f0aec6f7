//! From a recording to a program: which operations, in which order, in which registers.
//!
//! What the outputs do not need is dropped. The rest is ordered depth first, the operand that needs
//! more registers before the other (Sethi and Ullman, *The generation of optimal code for arithmetic
//! expressions*, 1970), so that a sum of a thousand terms needs a handful of registers however it is
//! bracketed. Where results are shared the rule is no longer optimal; the order of the recording is
//! kept if it needs fewer registers.

use std::sync::Arc;

use super::{
    Code, CoordinateFold, Instruction, MAX_INSTRUCTIONS, MAX_REGISTERS, Operand, Program, ProgramError,
    node::{Node, RecordedFold, Reference},
};

/// The program that computes `outputs` from the recorded `nodes` and loops over coordinates.
pub(super) fn compile(
    inputs: usize,
    parameters: &[f64],
    nodes: &[Node],
    folds: &[RecordedFold],
    outputs: &[Reference],
) -> Result<Program, ProgramError> {
    if outputs.is_empty() {
        return Err(ProgramError::NoOutputs);
    }
    let (kept, places) = needed_folds(nodes, folds, outputs);
    let folds = kept.into_iter().map(|fold| compile_fold(nodes, fold)).collect::<Result<_, _>>()?;
    let operand = |reference| match reference {
        Reference::Input(index) => Some(Operand::Input(index)),
        Reference::Folded(index) => places[usize::from(index)].map(Operand::Folded),
        _ => None,
    };
    let code = straight_line(inputs, nodes, outputs, operand)?;
    Ok(Program { code: Arc::new(Code { folds, ..code }), parameters: parameters.into() })
}

/// The loops whose results `outputs` need, and the place of each result among theirs.
fn needed_folds<'a>(
    nodes: &[Node],
    folds: &'a [RecordedFold],
    outputs: &[Reference],
) -> (Vec<&'a RecordedFold>, Vec<Option<u16>>) {
    let operands = depth_first(nodes, outputs).into_iter().flat_map(|node| nodes[node].operands);
    let read: Vec<u16> = operands
        .chain(outputs.iter().copied())
        .filter_map(|reference| match reference {
            Reference::Folded(index) => Some(index),
            _ => None,
        })
        .collect();
    let (mut kept, mut places, mut place) = (Vec::new(), Vec::new(), 0);
    for fold in folds {
        let results = places.len()..places.len() + fold.next.len();
        let needed = read.iter().any(|&index| results.contains(&usize::from(index)));
        for _ in results {
            places.push(needed.then_some(place));
            place += u16::from(needed);
        }
        if needed {
            kept.push(fold);
        }
    }
    (kept, places)
}

/// The step of a loop: a straight line whose inputs are the states and two coordinates.
fn compile_fold(nodes: &[Node], fold: &RecordedFold) -> Result<CoordinateFold, ProgramError> {
    let states = fold.start.len();
    let operand = |reference| match reference {
        Reference::State(slot) => Some(Operand::Input(u16::from(slot))),
        Reference::Coordinate(point) => Some(Operand::Input(states as u16 + u16::from(point))),
        _ => None,
    };
    let step = straight_line(states + 2, nodes, &fold.next, operand)?;
    let start = fold.start.iter().map(|&bits| Operand::Constant(f64::from_bits(bits))).collect();
    Ok(CoordinateFold { first: fold.first, count: fold.count, start, step })
}

/// The instructions that compute `outputs`. `leaf` says where what is not computed is read from, and what cannot be.
fn straight_line(
    inputs: usize,
    nodes: &[Node],
    outputs: &[Reference],
    leaf: impl Fn(Reference) -> Option<Operand>,
) -> Result<Code, ProgramError> {
    let scheduled = depth_first(nodes, outputs);
    if scheduled.len() > MAX_INSTRUCTIONS {
        return Err(ProgramError::TooLong { limit: MAX_INSTRUCTIONS, found: scheduled.len() });
    }
    let mut recorded = scheduled.clone();
    recorded.sort_unstable();

    let mut order = recorded;
    let mut allocation = allocate(nodes, outputs, &order);
    let candidate = allocate(nodes, outputs, &scheduled);
    if candidate.count < allocation.count {
        (order, allocation) = (scheduled, candidate);
    }
    if allocation.count > MAX_REGISTERS {
        return Err(ProgramError::TooManyRegisters { limit: MAX_REGISTERS, found: allocation.count });
    }
    let operand = |reference| match reference {
        Reference::Constant(bits) => Ok(Operand::Constant(f64::from_bits(bits))),
        Reference::Parameter(index) => Ok(Operand::Parameter(index)),
        Reference::Node(node) => Ok(Operand::Register(allocation.register[node as usize] as u8)),
        // A coordinate that has left its loop.
        other => leaf(other).ok_or(ProgramError::ForeignRecorder),
    };
    let instruction = |&node: &usize| {
        let [a, b, c] = nodes[node].operands;
        let operands = [operand(a)?, operand(b)?, operand(c)?];
        Ok(Instruction { operation: nodes[node].operation, operands, register: allocation.register[node] as u8 })
    };
    Ok(Code {
        inputs,
        registers: allocation.count,
        instructions: order.iter().map(instruction).collect::<Result<_, _>>()?,
        outputs: outputs.iter().copied().map(operand).collect::<Result<_, _>>()?,
        folds: Box::default(),
    })
}

/// The nodes that `outputs` need, operands first, the hungrier operand before the other.
fn depth_first(nodes: &[Node], outputs: &[Reference]) -> Vec<usize> {
    let needs = register_needs(nodes);
    let mut order = Vec::new();
    let mut state = vec![State::Unseen; nodes.len()];
    let mut stack = Vec::new();
    for output in outputs {
        stack.extend(node_of(*output));
        while let Some(&node) = stack.last() {
            match state[node] {
                State::Unseen => {
                    state[node] = State::Open;
                    // The last one pushed is the first one computed.
                    let mut operands = operand_nodes(&nodes[node]);
                    operands.reverse();
                    operands.sort_by_key(|&operand| needs[operand]);
                    stack.extend(operands.iter().filter(|&&operand| state[operand] != State::Done));
                }
                State::Open => {
                    state[node] = State::Done;
                    order.push(node);
                    stack.pop();
                }
                State::Done => {
                    stack.pop();
                }
            }
        }
    }
    order
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unseen,
    Open,
    Done,
}

/// The registers that each node would need if nothing were shared: with the needs of the operands in
/// falling order, `max_k (need_k + k)`.
fn register_needs(nodes: &[Node]) -> Vec<usize> {
    let mut needs = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut operands: Vec<usize> = operand_nodes(node).iter().map(|&node| needs[node]).collect();
        operands.sort_unstable_by(|a, b| b.cmp(a));
        let held = operands.iter().enumerate().map(|(held, need)| need + held);
        needs.push(held.max().unwrap_or(1));
    }
    needs
}

/// Where results are kept.
struct Allocation {
    /// The register of each node, where it has one.
    register: Vec<usize>,
    /// The number of registers.
    count: usize,
}

/// Registers by liveness: one is free again after the last use of its result, from the next
/// instruction on. Outputs are kept to the end.
fn allocate(nodes: &[Node], outputs: &[Reference], order: &[usize]) -> Allocation {
    const END: usize = usize::MAX;
    let mut last_use = vec![0; nodes.len()];
    for (position, &node) in order.iter().enumerate() {
        for operand in operand_nodes(&nodes[node]) {
            last_use[operand] = position;
        }
    }
    for node in outputs.iter().filter_map(|&output| node_of(output)) {
        last_use[node] = END;
    }

    let mut allocation = Allocation { register: vec![END; nodes.len()], count: 0 };
    let mut free = Vec::new();
    for (position, &node) in order.iter().enumerate() {
        allocation.register[node] = free.pop().unwrap_or_else(|| {
            allocation.count += 1;
            allocation.count - 1
        });
        for operand in operand_nodes(&nodes[node]) {
            if last_use[operand] == position {
                free.push(allocation.register[operand]);
            }
        }
    }
    allocation
}

/// The different nodes among the operands.
fn operand_nodes(node: &Node) -> Vec<usize> {
    let mut operands: Vec<usize> = node.operands.iter().filter_map(|&o| node_of(o)).collect();
    operands.dedup();
    if operands.len() == 3 && operands[0] == operands[2] {
        operands.pop();
    }
    operands
}

fn node_of(reference: Reference) -> Option<usize> {
    match reference {
        Reference::Node(node) => Some(node as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        program::{MAX_INSTRUCTIONS, MAX_REGISTERS, Program, ProgramError, Recorder},
        real::Real,
    };

    const TERMS: usize = 1000;

    /// However a long sum is written, it needs few registers and adds up right.
    fn assert_small(program: Program, registers: usize) {
        assert!(program.registers() <= registers, "{} registers", program.registers());
        let inputs: Vec<f64> = (0..TERMS).map(|index| index as f64 - 300.0).collect();
        let expected: f64 = inputs.iter().map(|x| x * x).sum();
        assert_eq!(program.evaluate(&inputs).unwrap(), [expected]);
    }

    #[test]
    fn a_running_sum() {
        let program = Program::record_dynamic(TERMS, |inputs| {
            let zero = Recorder::constant(0.0);
            vec![inputs.iter().fold(zero, |sum, &x| sum + x * x)]
        });
        assert_small(program.unwrap(), 3);
    }

    #[test]
    fn all_terms_before_the_sum() {
        let program = Program::record_dynamic(TERMS, |inputs| {
            let terms: Vec<_> = inputs.iter().map(|&x| x * x).collect();
            vec![terms.iter().fold(Recorder::constant(0.0), |sum, &term| sum + term)]
        });
        assert_small(program.unwrap(), 3);
    }

    #[test]
    fn a_sum_from_the_right() {
        let program = Program::record_dynamic(TERMS, |inputs| {
            let terms: Vec<_> = inputs.iter().map(|&x| x * x).collect();
            let zero = Recorder::constant(0.0);
            vec![terms.iter().rev().fold(zero, |sum, &term| term + sum)]
        });
        assert_small(program.unwrap(), 3);
    }

    #[test]
    fn a_balanced_tree() {
        let program = Program::record_dynamic(TERMS, |inputs| {
            let mut terms: Vec<_> = inputs.iter().map(|&x| x * x).collect();
            while terms.len() > 1 {
                terms = pairs(&terms);
            }
            terms
        });
        assert_small(program.unwrap(), 12);
    }

    fn pairs<'a>(terms: &[Recorder<'a>]) -> Vec<Recorder<'a>> {
        let sum = |pair: &[Recorder<'a>]| pair.iter().skip(1).fold(pair[0], |a, &b| a + b);
        terms.chunks(2).map(sum).collect()
    }

    #[test]
    fn results_are_held_no_longer_than_needed() {
        // Both outputs and both factors live at the same time, plus the one being written.
        let program = Program::record(|[x]| {
            let (a, b) = (x.exp(), x.ln());
            [a * b, a / b]
        })
        .unwrap();
        assert_eq!(program.registers(), 4, "{program}");
        let chain = Program::record(|[x]| [x.exp().sqrt().ln().abs()]).unwrap();
        assert_eq!(chain.registers(), 2, "{chain}");
    }

    #[test]
    fn too_many_registers_are_told() {
        let outputs = |count: usize| Program::record_dynamic(count, |inputs| inputs.iter().map(|x| x.exp()).collect());
        assert_eq!(outputs(MAX_REGISTERS).unwrap().registers(), MAX_REGISTERS);
        let found = MAX_REGISTERS + 1;
        let error = ProgramError::TooManyRegisters { limit: MAX_REGISTERS, found };
        assert_eq!(outputs(found), Err(error));
    }

    #[test]
    fn too_long_a_formula_is_told() {
        let chain = |length: usize| Program::record(|[x]| [(0..length).fold(x, |y, index| y + (index as f64 + 1.0))]);
        assert_eq!(chain(MAX_INSTRUCTIONS).unwrap().instructions().len(), MAX_INSTRUCTIONS);
        let found = MAX_INSTRUCTIONS + 1;
        let error = ProgramError::TooLong { limit: MAX_INSTRUCTIONS, found };
        assert_eq!(chain(found), Err(error));
    }
}
