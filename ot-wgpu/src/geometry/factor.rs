//! What multiplies the entries of a plan in a derivative, as text of a kernel and what the kernel is told.

use std::fmt::Write;

use ot_core::{CostParameter, CostTangent, PairWeight, Side};

use super::row_pass::Place;
use crate::{backend::Wgpu, gpu::Arguments};

/// The factors of a pass: their arguments, statements for each own atom, and what the text depends on.
pub(super) struct Factors {
    side: Side,
    /// Columns of the batch.
    columns: usize,
    pub(super) arguments: Arguments,
    pub(super) start: String,
    pub(super) options: Vec<u32>,
}

impl Factors {
    pub(super) fn new(side: Side, columns: usize) -> Self {
        Self { side, columns, arguments: Arguments::new(), start: String::new(), options: Vec::new() }
    }

    /// w_ij = constant + r_i + s_j + sum_k u_ik v_jk + kappa C_ij. Gives an expression for a pair.
    pub(super) fn weight(&mut self, weight: PairWeight<'_, Wgpu>) -> impl Fn(&Place<'_>) -> String + use<> {
        self.arguments.number("constant", weight.constant).number("kappa", weight.cost);
        let [own, other] = match self.side {
            Side::Source => [weight.source, weight.target],
            Side::Target => [weight.target, weight.source],
        };
        if let Some(own) = own {
            self.arguments.vector("own_term", own);
            self.start += "let own_term# = load(P.own_term_at + column * P.own_term_stride + own#);\n";
        }
        if let Some(other) = other {
            self.arguments.vector("other_term", other);
        }
        let mut channels = 0;
        if let Some((u, v)) = weight.product {
            channels = u.columns() / self.columns;
            let [own, other] = self.side.of([[u, v], [v, u]]);
            self.arguments.place("own_product", own.start()).place("other_product", other.start());
            for k in 0..channels {
                let at = format!("(column * {channels}u + {k}u) * P.rows + own#");
                let _ = writeln!(self.start, "let own_product{k}_# = load(P.own_product + {at});");
            }
        }
        let [has_own, has_other] = [own.is_some(), other.is_some()];
        self.options.extend([1, u32::from(has_own), u32::from(has_other), channels as u32]);
        move |place| {
            let (Place { row, cost, .. }, other) = (place, place.other());
            let mut text = format!("(P.constant + P.kappa * {cost}");
            if has_own {
                let _ = write!(text, " + own_term{row}");
            }
            if has_other {
                let _ = write!(text, " + load(P.other_term_at + column * P.other_term_stride + {other})");
            }
            for k in 0..channels {
                let at = format!("(column * {channels}u + {k}u) * P.others + {other}");
                let _ = write!(text, " + own_product{k}_{row} * load(P.other_product + {at})");
            }
            text + ")"
        }
    }

    /// The tangent of a parameter of `len` numbers, those of a point where it is the points. Gives an expression for number k
    /// at a pair.
    pub(super) fn tangent(
        &mut self,
        tangent: CostTangent<'_, Wgpu>,
        len: usize,
    ) -> impl Fn(usize, &Place<'_>) -> String + use<> {
        let (values, parameter) = (tangent.values, tangent.parameter);
        // One tangent for all columns of the batch, or one for each.
        let copies = match parameter {
            CostParameter::Points(_) => values.columns() / len,
            _ => values.columns(),
        };
        self.arguments.place("tangent", values.start()).index("tangent_step", if copies == 1 { 0 } else { len });
        let is_own = parameter == CostParameter::Points(self.side);
        let is_other = parameter == CostParameter::Points(self.side.opposite());
        if is_own {
            for k in 0..len {
                let at = format!("(column * P.tangent_step + {k}u) * P.rows + own#");
                let _ = writeln!(self.start, "let tangent{k}_# = load(P.tangent + {at});");
            }
        }
        self.options.extend([2, u32::from(is_own), u32::from(is_other), len as u32]);
        move |k, place| {
            if is_own {
                return format!("tangent{k}_{}", place.row);
            }
            let at = format!("(column * P.tangent_step + {k}u)");
            match is_other {
                true => format!("load(P.tangent + {at} * P.others + {})", place.other()),
                false => format!("load(P.tangent + {at})"),
            }
        }
    }
}
