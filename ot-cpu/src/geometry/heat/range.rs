//! How far a plan moves, beside how far a diffusion tells squared distances.

use ot_core::{Error, Host, Plan, Side, Vertices};

use super::{CpuScalar, HeatDistance, HeatGeometry};

impl<T: CpuScalar> HeatGeometry<T> {
    /// The share of the mass of a plan that moves farther than sqrt(k t), where the implied cost grows about linearly in the
    /// distance and no longer like its square. A large share asks for more steps.
    ///
    /// It is estimated from `samples` source vertices, at even parts of the mass of the first column; each costs a row of the
    /// plan and the distances from its vertex: by the [heat method](HeatDistance) on a mesh, on a graph by shortest paths, an
    /// edge of weight w between vertices of mean mass m being sqrt(m / w) long.
    ///
    /// # Errors
    /// [`Error::Length`] for a plan of another support; [`Error::Parameter`] for no sample; those of [`Plan::apply`].
    pub fn share_beyond_range(&self, plan: &mut Plan<Host<T>>, samples: usize) -> Result<f64, Error> {
        if samples == 0 {
            return Err(Error::Parameter { name: "the number of samples", value: 0.0, expected: "at least one" });
        }
        let (n, columns) = (self.heat.vertices.len(), plan.problem().columns());
        for side in Side::BOTH {
            let found = plan.problem().marginal(side).len();
            if found != n {
                return Err(Error::Length { what: "atoms of the plan", expected: n, found });
            }
        }
        let rows: Vec<f64> = plan.marginal(Side::Source)?[..n].iter().map(|mass| mass.to_f64()).collect();
        let distances = Distances::new(&self.heat.vertices)?;
        let range = (self.heat.steps as f64 * self.heat.time).sqrt();
        let (mut beyond, mut of) = (0.0, 0.0);
        for vertex in at_even_parts(&rows, samples) {
            let mut lit = vec![T::default(); n * columns];
            lit[vertex] = T::from_f64(1.0);
            let row = plan.apply(Side::Target, &lit)?;
            for (mass, distance) in row[..n].iter().zip(distances.from(vertex as u32)?) {
                of += mass.to_f64() / rows[vertex];
                beyond += if distance > range { mass.to_f64() / rows[vertex] } else { 0.0 };
            }
        }
        Ok(if of > 0.0 { beyond / of } else { 0.0 })
    }
}

/// Distances between vertices.
enum Distances<'a> {
    Mesh(Box<HeatDistance>),
    Graph(&'a ot_core::Graph, f64),
}

impl<'a> Distances<'a> {
    fn new(vertices: &'a Vertices) -> Result<Self, Error> {
        Ok(match vertices {
            Vertices::Mesh(mesh) => Self::Mesh(Box::new(HeatDistance::new(mesh)?)),
            Vertices::Graph(graph) => Self::Graph(graph, graph.masses().iter().sum::<f64>() / graph.len() as f64),
        })
    }

    fn from(&self, vertex: u32) -> Result<Vec<f64>, Error> {
        match self {
            Self::Mesh(method) => method.from_vertices(&[vertex]),
            Self::Graph(graph, mass) => graph.shortest_paths(&[vertex], |weight| (mass / weight).sqrt()),
        }
    }
}

/// The vertices that hold the middle of each of so many even parts of a mass.
fn at_even_parts(masses: &[f64], parts: usize) -> Vec<usize> {
    let total: f64 = masses.iter().sum();
    let (mut vertices, mut below) = (Vec::with_capacity(parts), 0.0);
    for (vertex, mass) in masses.iter().enumerate() {
        below += mass;
        while vertices.len() < parts && (vertices.len() as f64 + 0.5) / parts as f64 * total < below {
            vertices.push(vertex);
        }
    }
    vertices
}
