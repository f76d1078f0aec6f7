//! The intrinsic Delaunay triangulation of a surface: the same surface, cut into triangles by other straight edges.
//!
//! Cotangent weights of an edge are negative where the two angles across it add up to more than pi. Flipping such edges,
//! across the surface and not through space, ends where there are none (Bobenko, Springborn 2007). A boundary edge with an
//! obtuse angle across cannot be flipped; it is split where the perpendicular from the corner meets it, which makes two right
//! angles. Then no weight is negative, and since nothing of the surface has changed, linear functions on flat parts stay
//! harmonic.
//!
//! Triangles without area are given some, by an equal addition to the length of every edge (Sharp, Crane 2020).

use ot_core::{Error, Graph, TriangleMesh};

/// A sum of cotangents above this, relative to their sizes, counts as not negative.
const ROUNDING: f64 = 1e-13;
/// The least excess of two sides of a triangle over the third, in lengths of its longest side.
const LEAST_EXCESS: f64 = 1e-8;
/// The least length of a side, in mean lengths.
const LEAST_LENGTH: f64 = 1e-12;

/// What was done to a mesh before its weights were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeshReport {
    /// Edges flipped across the surface.
    pub flips: usize,
    /// Vertices inserted into boundary edges. They carry heat but no measure.
    pub inserted: usize,
    /// What was added to the length of each edge, because some triangle had no area: zero on a mesh without such triangles.
    pub mollification: f64,
    /// Edges whose weight was negative in the end, beyond rounding, and is taken as zero: none, where numbers allow.
    pub clamped: usize,
    /// Vertices without a triangle. They have the mean mass of the others.
    pub isolated: usize,
}

/// Cotangent weights of a surface as a graph.
#[derive(Clone, Debug)]
pub struct CotangentGraph {
    /// Vertices of the mesh, then those inserted, with a third of the area of the triangles around as mass; edges of the
    /// intrinsic Delaunay triangulation with half the sum of the cotangents across, of which none is negative.
    pub graph: Graph,
    /// Where vertices were inserted: at (1 - s) x + s y between two vertices x and y, of the mesh or inserted before.
    pub inserted: Vec<([u32; 2], f64)>,
    /// What was done.
    pub report: MeshReport,
}

/// A side of a triangle: its index, and which of the sides.
#[derive(Clone, Copy, Debug)]
struct SideOf {
    triangle: u32,
    side: u8,
    /// Does the side run in the same direction in both triangles, so that they are turned against each other?
    is_turned: bool,
}

/// A side that was a number of turns after a side of a triangle, and the triangle and the side that it is now.
struct Move(u32, usize, usize, (u32, usize));

/// One triangle. Side s runs from corner s to corner s + 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triangle {
    pub(super) corners: [u32; 3],
    pub(super) lengths: [f64; 3],
    across: [Option<SideOf>; 3],
}

impl Triangle {
    /// The area, by Kahan's arrangement of Heron's formula.
    pub(super) fn area(&self) -> f64 {
        let mut sides = self.lengths;
        sides.sort_by(f64::total_cmp);
        let [c, b, a] = sides;
        0.25 * ((a + (b + c)) * (c - (a - b)).max(0.0) * (c + (a - b)) * (a + (b - c))).sqrt()
    }

    /// The cotangent of the angle across a side.
    fn cotangent(&self, side: usize) -> f64 {
        let [c, a, b] = [0, 1, 2].map(|k| self.lengths[(side + k) % 3]);
        // a^2 + b^2 - c^2, where c may be the longest.
        (a * a + (b - c) * (b + c)) / (4.0 * self.area())
    }

    /// The same triangle with a side at the front.
    fn rotated(&self, side: usize) -> Self {
        let turn = |k: usize| (side + k) % 3;
        Self {
            corners: [0, 1, 2].map(|k| self.corners[turn(k)]),
            lengths: [0, 1, 2].map(|k| self.lengths[turn(k)]),
            across: [0, 1, 2].map(|k| self.across[turn(k)]),
        }
    }

    /// How far along its first side, and how far from it, the corner across stands.
    pub(super) fn apex(&self) -> [f64; 2] {
        let [base, right, left] = self.lengths;
        let along = 0.5 * (base + (left - right) * (left + right) / base);
        [along, 2.0 * self.area() / base]
    }
}

/// The triangles of a surface, glued along their sides.
#[derive(Clone, Debug)]
pub(super) struct IntrinsicTriangulation {
    pub(super) triangles: Vec<Triangle>,
    /// What lengths are measured in.
    pub(super) unit: f64,
    vertices: usize,
    inserted: Vec<([u32; 2], f64)>,
    report: MeshReport,
}

impl IntrinsicTriangulation {
    /// The Delaunay triangulation of a mesh.
    pub(super) fn delaunay(mesh: &TriangleMesh) -> Result<Self, Error> {
        let mut surface = Self::of_mesh(mesh);
        surface.choose_unit()?;
        surface.mollify();
        surface.make_delaunay();
        Ok(surface)
    }

    /// The triangles as they stand in space.
    fn of_mesh(mesh: &TriangleMesh) -> Self {
        let mut sides: Vec<([u32; 2], u32, u8, bool)> = Vec::with_capacity(3 * mesh.triangles().len());
        let mut triangles = Vec::with_capacity(mesh.triangles().len());
        for (index, corners) in mesh.triangles().iter().enumerate() {
            let ends = |side: usize| [corners[side], corners[(side + 1) % 3]];
            let lengths = [0, 1, 2].map(|side| mesh.distance(ends(side)[0], ends(side)[1]));
            triangles.push(Triangle { corners: *corners, lengths, across: [None; 3] });
            for side in 0..3 {
                let [i, j] = ends(side);
                sides.push(([i.min(j), i.max(j)], index as u32, side as u8, i < j));
            }
        }
        sides.sort_unstable();
        for pair in sides.windows(2) {
            let [(edge, f, s, f_ascends), (other, g, t, g_ascends)] = [pair[0], pair[1]];
            if edge == other {
                let is_turned = f_ascends == g_ascends;
                triangles[f as usize].across[s as usize] = Some(SideOf { triangle: g, side: t, is_turned });
                triangles[g as usize].across[t as usize] = Some(SideOf { triangle: f, side: s, is_turned });
            }
        }
        Self { triangles, unit: 1.0, vertices: mesh.len(), inserted: Vec::new(), report: MeshReport::default() }
    }

    /// Takes a power of two near the mean length of an edge as the unit, so that no area leaves the numbers.
    fn choose_unit(&mut self) -> Result<(), Error> {
        let lengths = self.triangles.iter().flat_map(|triangle| triangle.lengths);
        let largest = lengths.fold(0.0, f64::max);
        if !largest.is_finite() {
            return Err(Error::SumOverflow { what: "the length of an edge", element: "f64" });
        }
        let mean = largest
            * self.triangles.iter().flat_map(|triangle| triangle.lengths.map(|l| l / largest)).sum::<f64>()
            / (3 * self.triangles.len()).max(1) as f64;
        if mean > 0.0 {
            self.unit = mean.log2().floor().exp2();
            let unit = self.unit;
            self.triangles.iter_mut().for_each(|triangle| triangle.lengths = triangle.lengths.map(|l| l / unit));
        }
        Ok(())
    }

    /// Lengthens all edges alike until every triangle has an area.
    fn mollify(&mut self) {
        let missing = |triangle: &Triangle| {
            let [a, b, c] = triangle.lengths;
            let excess = (a + b - c).min(b + c - a).min(c + a - b);
            LEAST_EXCESS * a.max(b).max(c).max(LEAST_LENGTH) - excess
        };
        let added = self.triangles.iter().map(missing).fold(0.0, f64::max);
        self.report.mollification = added * self.unit;
        self.triangles.iter_mut().for_each(|triangle| triangle.lengths = triangle.lengths.map(|l| l + added));
    }

    /// Flips and splits until no weight is negative.
    fn make_delaunay(&mut self) {
        let sides = |triangle: u32| [0, 1, 2].map(|side| (triangle, side));
        let mut open: Vec<(u32, u8)> = (0..self.triangles.len() as u32).flat_map(sides).collect();
        // Both kinds of steps end by themselves; a bound of their number makes an end certain whatever rounding does.
        let mut left = 64 * self.triangles.len() + 1024;
        while let Some((triangle, side)) = open.pop() {
            if left == 0 {
                break;
            }
            let changed = match self.triangles[triangle as usize].across[side as usize] {
                None => self.split(triangle, side as usize),
                Some(other) if other.triangle != triangle => self.flip(triangle, side as usize, other),
                Some(_) => None,
            };
            if let Some(pair) = changed {
                left -= 1;
                open.extend(pair.into_iter().flat_map(sides));
            }
        }
    }

    /// Splits a boundary edge, if the angle across is obtuse.
    fn split(&mut self, index: u32, side: usize) -> Option<[u32; 2]> {
        let whole = self.triangles[index as usize];
        let cotangent = whole.cotangent(side);
        if cotangent >= -ROUNDING * (1.0 + cotangent.abs()) {
            return None;
        }
        let whole = whole.rotated(side);
        let ([a, b, c], [base, bc, ca]) = (whole.corners, whole.lengths);
        let [along, height] = whole.apex();
        if !(height > 0.0 && along > 0.0 && along < base) {
            return None;
        }
        let (foot, new) = (self.vertices as u32, self.triangles.len() as u32);
        self.vertices += 1;
        self.inserted.push(([a, b], along / base));
        let glued = |triangle, side| Some(SideOf { triangle, side, is_turned: false });
        let left = Triangle {
            corners: [a, foot, c],
            lengths: [along, height, ca],
            across: [None, glued(new, 2), whole.across[2]],
        };
        let right = Triangle {
            corners: [foot, b, c],
            lengths: [base - along, bc, height],
            across: [None, whole.across[1], glued(index, 1)],
        };
        self.triangles[index as usize] = left;
        self.triangles.push(right);
        self.reglue(&[Move(index, side, 2, (index, 2)), Move(index, side, 1, (new, 1))]);
        Some([index, new])
    }

    /// Flips the edge between two triangles, if the angles across add up to more than pi.
    fn flip(&mut self, f: u32, side: usize, other: SideOf) -> Option<[u32; 2]> {
        let g = other.triangle;
        let cotangents =
            [self.triangles[f as usize].cotangent(side), self.triangles[g as usize].cotangent(other.side as usize)];
        let size = 1.0 + cotangents[0].abs() + cotangents[1].abs();
        if cotangents[0] + cotangents[1] >= -ROUNDING * size {
            return None;
        }
        if other.is_turned {
            self.turn(g);
        }
        let other = self.triangles[f as usize].across[side]?;
        // [a, b, c] and [b, a, d], of which the first sides are glued.
        let (above, below) =
            (self.triangles[f as usize].rotated(side), self.triangles[g as usize].rotated(other.side as usize));
        let ([a, b, c], d) = (above.corners, below.corners[2]);
        let ([base, bc, ca], [_, ad, db]) = (above.lengths, below.lengths);
        let ([x_c, y_c], [x_d, y_d]) = (above.apex(), below.apex());
        let cd = ((base - x_d) - x_c).hypot(y_c + y_d);
        let glued = |triangle| Some(SideOf { triangle, side: 0, is_turned: false });
        self.triangles[f as usize] = Triangle {
            corners: [c, d, b],
            lengths: [cd, db, bc],
            across: [glued(g), below.across[2], above.across[1]],
        };
        self.triangles[g as usize] = Triangle {
            corners: [d, c, a],
            lengths: [cd, ca, ad],
            across: [glued(f), above.across[2], below.across[1]],
        };
        self.report.flips += 1;
        let t = other.side as usize;
        self.reglue(&[
            Move(g, t, 2, (f, 1)),
            Move(f, side, 1, (f, 2)),
            Move(f, side, 2, (g, 1)),
            Move(g, t, 1, (g, 2)),
        ]);
        Some([f, g])
    }

    /// Tells neighbours where sides have gone.
    fn reglue(&mut self, moves: &[Move]) {
        // A moved side may be glued to another moved one.
        let moved = |triangle: u32, side: u8| {
            let is_it = |Move(from, first, turn, _): &&Move| *from == triangle && (first + turn) % 3 == side as usize;
            moves.iter().find(is_it).map(|Move(.., to)| *to)
        };
        for &Move(.., (triangle, side)) in moves {
            let Some(mut other) = self.triangles[triangle as usize].across[side] else { continue };
            match moved(other.triangle, other.side) {
                Some((to, to_side)) => {
                    (other.triangle, other.side) = (to, to_side as u8);
                    self.triangles[triangle as usize].across[side] = Some(other);
                }
                None => {
                    let back = SideOf { triangle, side: side as u8, is_turned: other.is_turned };
                    self.triangles[other.triangle as usize].across[other.side as usize] = Some(back);
                }
            }
        }
    }

    /// Names the corners of a triangle in the other direction.
    fn turn(&mut self, index: u32) {
        // Side 0 stays, sides 1 and 2 change places.
        const PLACE: [usize; 3] = [0, 2, 1];
        let before = self.triangles[index as usize];
        let ([a, b, c], lengths) = (before.corners, before.lengths);
        let mut after = Triangle { corners: [b, a, c], lengths: PLACE.map(|s| lengths[s]), across: [None; 3] };
        for (side, place) in PLACE.into_iter().enumerate() {
            after.across[place] = before.across[side].map(|other| match other.triangle == index {
                true => SideOf { side: PLACE[other.side as usize] as u8, ..other },
                false => SideOf { is_turned: !other.is_turned, ..other },
            });
        }
        self.triangles[index as usize] = after;
        for (side, other) in after.across.into_iter().enumerate() {
            if let Some(other) = other.filter(|other| other.triangle != index) {
                let back = SideOf { triangle: index, side: side as u8, is_turned: other.is_turned };
                self.triangles[other.triangle as usize].across[other.side as usize] = Some(back);
            }
        }
    }

    /// The vertices, first those of the mesh, then those inserted.
    pub(super) fn vertices(&self) -> usize {
        self.vertices
    }

    /// Cotangent weights as a graph, whose vertices have a third of the area of their triangles as mass.
    pub(super) fn cotangent_graph(&self) -> Result<CotangentGraph, Error> {
        let mut report = MeshReport { inserted: self.inserted.len(), ..self.report };
        let mut masses = vec![0.0; self.vertices];
        let mut edges = Vec::with_capacity(self.triangles.len() * 3 / 2 + 1);
        for (index, triangle) in self.triangles.iter().enumerate() {
            let area = triangle.area();
            for side in 0..3 {
                masses[triangle.corners[side] as usize] += area / 3.0;
                let own = triangle.cotangent(side);
                let across = match triangle.across[side] {
                    // Once for each pair of sides.
                    Some(other) if (other.triangle as usize, other.side as usize) < (index, side) => continue,
                    Some(other) => self.triangles[other.triangle as usize].cotangent(other.side as usize),
                    None => 0.0,
                };
                let weight = 0.5 * (own + across);
                if weight < -ROUNDING * (1.0 + own.abs() + across.abs()) {
                    report.clamped += 1;
                }
                edges.push(([triangle.corners[side], triangle.corners[(side + 1) % 3]], weight.max(0.0)));
            }
        }
        masses.iter_mut().for_each(|mass| *mass = self.unit * (self.unit * *mass));
        let area: f64 = masses.iter().sum();
        if !(area.is_finite() && (area > f64::MIN_POSITIVE || self.triangles.is_empty())) {
            return Err(Error::SumOverflow { what: "the area of a mesh, or its inverse,", element: "f64" });
        }
        report.isolated = masses.iter().filter(|mass| **mass == 0.0).count();
        let total: f64 = masses.iter().sum();
        let mean = if total > 0.0 { total / (masses.len() - report.isolated) as f64 } else { 1.0 };
        masses.iter_mut().filter(|mass| **mass == 0.0).for_each(|mass| *mass = mean);
        let graph = Graph::new(self.vertices, edges)?.with_masses(masses)?;
        Ok(CotangentGraph { graph, inserted: self.inserted.clone(), report })
    }
}
