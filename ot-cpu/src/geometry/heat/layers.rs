//! Inputs whose logarithms span more than numbers do, as several inputs: *layers*.
//!
//! Each layer spans logarithms of [`WINDOW`], from the largest of each component down; what lies below the largest by more
//! goes to a further layer, with a largest of its own.

use ot_core::{HostBackend, host::for_each_chunk, measure::Components};

use super::Untold;
use crate::{backend::CpuBackend, geometry::CpuScalar};

/// Logarithms of the inputs of one layer span this much.
pub(super) const WINDOW: f64 = 512.0;
/// A term that is smaller by this factor, as a logarithm, counts nothing.
const NEGLIGIBLE: f64 = 40.0;
/// The most layers of one request.
const LAYERS: usize = 32;

/// What the results of layers are told by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Logarithms of results over the largest input are not below this: what would be is minus infinity.
    pub(super) floor: f64,
    /// A bound of log K as it is computed.
    pub(super) largest_entry: f64,
    /// What is to be added to all that is computed.
    pub(super) offset: f64,
}

/// The layers of some requests, request after request, at least one for each.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The request of each layer.
    requests: Vec<usize>,
    /// The largest logarithm of each layer in each component: minus infinity where it has no input.
    tops: Vec<f64>,
    /// Of each request, layer after layer, and in the end what is below the last one.
    of_requests: Vec<Vec<f64>>,
}

impl Layers {
    /// Cuts each request of `n` exponents into layers; what is at most `dark` is no input.
    pub(super) fn cut<T: CpuScalar>(
        &mut self,
        backend: &CpuBackend<T>,
        exponents: &[f64],
        n: usize,
        dark: f64,
        components: &Components,
    ) {
        let Self { requests, tops, of_requests } = self;
        of_requests.resize_with(exponents.len() / n, Vec::new);
        let pieces = exponents.chunks_exact(n).zip(of_requests.iter_mut());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            exponents.len() / n,
            pieces,
            |_, (exponents, tops)| {
                cut(exponents, dark, components, tops);
            },
        );
        requests.clear();
        tops.clear();
        for (request, own) in of_requests.iter().enumerate() {
            let layers = own.len() / components.count() - 1;
            requests.extend(std::iter::repeat_n(request, layers));
            tops.extend(&own[..layers * components.count()]);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Logarithms of inputs less the largest of their layer, for W layers from the first on, side by side, vertex by vertex
    /// from `start` on: minus infinity for what is not in the layer.
    pub(super) fn enter<const W: usize>(
        &self,
        first: usize,
        exponents: &[f64],
        start: usize,
        components: &Components,
        inputs: &mut [[f64; W]],
    ) {
        let (n, count) = (exponents.len() / self.of_requests.len(), components.count());
        let components = &components.of_vertices()[start..];
        for side in 0..W {
            let Some(request) = self.requests.get(first + side) else {
                inputs.iter_mut().for_each(|input| input[side] = f64::NEG_INFINITY);
                continue;
            };
            let tops = &self.tops[(first + side) * count..][..count];
            let own = exponents[request * n + start..].iter().zip(components);
            for (input, (&x, &component)) in inputs.iter_mut().zip(own) {
                let log = x - tops[component as usize];
                input[side] = if log > -WINDOW && log <= 0.0 { log } else { f64::NEG_INFINITY };
            }
        }
    }

    /// Sums of the results of the layers of each request, in the place of its exponents. `results` holds for each layer the
    /// logarithms of K exp(x) over the largest input.
    pub(super) fn sum<T: CpuScalar>(
        &self,
        backend: &CpuBackend<T>,
        exponents: &mut [f64],
        results: &[f64],
        components: &Components,
        told: Told,
        untold: &mut Vec<Untold>,
    ) {
        let (requests, count) = (self.of_requests.len(), components.count());
        let n = exponents.len() / requests;
        let mut first = 0;
        let firsts = self.of_requests.iter().map(|tops| {
            let layers = tops.len() / count - 1;
            first += layers;
            first - layers
        });
        let mut lists: Vec<Vec<Untold>> = vec![Vec::new(); requests];
        let pieces = exponents.chunks_exact_mut(n).zip(firsts).zip(&self.of_requests).zip(&mut lists);
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| backend.parallel(tasks, job);
        for_each_chunk(parallel, requests, pieces, |request, (((out, first), tops), list)| {
            let results = &results[first * n..];
            let is_single = tops.len() == 2 * count && tops[count..].iter().all(|left| *left == f64::NEG_INFINITY);
            for (vertex, (out, &component)) in out.iter_mut().zip(components.of_vertices()).enumerate() {
                let component = component as usize;
                *out = results[vertex] + tops[component] + told.offset;
                if !is_single || *out == f64::NEG_INFINITY {
                    let own = tops[component..].iter().step_by(count).copied();
                    match sum_at(own, |layer| results[layer * n + vertex], told) {
                        Ok(log) => *out = log + told.offset,
                        Err(bound) => {
                            *out = f64::NEG_INFINITY;
                            list.push(Untold { request, atom: vertex, bound: bound.map(|bound| bound + told.offset) });
                        }
                    }
                }
            }
        });
        untold.extend(lists.into_iter().flatten());
    }
}

/// The largest logarithms of all layers of a request, and of what is below them, in each component.
fn cut(exponents: &[f64], dark: f64, components: &Components, tops: &mut Vec<f64>) {
    let count = components.count();
    tops.clear();
    for layer in 0..=LAYERS {
        let start = tops.len();
        tops.resize(start + count, f64::NEG_INFINITY);
        for (&x, &component) in exponents.iter().zip(components.of_vertices()) {
            let ceiling = match layer {
                0 => f64::INFINITY,
                _ => tops[start - count + component as usize] - WINDOW,
            };
            let top = &mut tops[start + component as usize];
            if x > dark && x <= ceiling && x > *top {
                *top = x;
            }
        }
        let is_last = tops[start..].iter().all(|top| *top == f64::NEG_INFINITY);
        if layer > 0 && is_last {
            break;
        }
    }
}

/// The sum of results at a vertex, from the largest inputs of each layer in its component and, in the end, of what is below
/// them; or a bound of it if it cannot be told, and none if there is no input.
fn sum_at(
    tops: impl DoubleEndedIterator<Item = f64> + Clone,
    result: impl Fn(usize) -> f64,
    Told { floor, largest_entry, .. }: Told,
) -> Result<f64, Option<f64>> {
    let mut layers = tops.clone();
    let left = layers.next_back().unwrap_or(f64::NEG_INFINITY) + largest_entry;
    let (mut largest, mut unknown) = (f64::NEG_INFINITY, left);
    for (layer, top) in layers.clone().enumerate().filter(|(_, top)| *top != f64::NEG_INFINITY) {
        match result(layer) {
            f64::NEG_INFINITY => unknown = unknown.max(floor + top),
            log => largest = largest.max(log + top),
        }
    }
    if largest == f64::NEG_INFINITY && unknown == f64::NEG_INFINITY {
        return Err(None);
    }
    if unknown > largest - NEGLIGIBLE {
        return Err(Some(unknown.max(largest) + (2.0 * LAYERS as f64).ln()));
    }
    let sum: f64 = layers.enumerate().map(|(layer, top)| (result(layer) + top - largest).exp()).sum();
    Ok(largest + sum.ln())
}
