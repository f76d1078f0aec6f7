//! Surfaces from files: OBJ, PLY and OFF.

use std::{error::Error, fs, path::Path, str::FromStr};

use ot_core::TriangleMesh;
use ply_rs_bw::{
    parser::Parser,
    ply::{DefaultElement, Property},
};

/// Positions, and polygons of their indices.
#[derive(Default)]
struct Polygons {
    vertices: Vec<[f64; 3]>,
    polygons: Vec<Vec<u32>>,
}

/// The surface of a file, by its name's ending. Polygons are cut into fans of triangles, corners of a seam are joined.
pub fn read(path: &Path) -> Result<TriangleMesh, Box<dyn Error>> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let Polygons { vertices, polygons } = match ending.as_deref() {
        Some("obj") => obj(path)?,
        Some("ply") => ply(path)?,
        Some("off") => off(&fs::read_to_string(path)?)?,
        _ => return Err(format!("{}: expected the ending .obj, .ply or .off", path.display()).into()),
    };
    let fan = |corners: &Vec<u32>| -> Vec<[u32; 3]> {
        let rest = corners.get(1..).unwrap_or_default();
        rest.windows(2).map(|pair| [corners[0], pair[0], pair[1]]).collect()
    };
    Ok(TriangleMesh::new(vertices, polygons.iter().flat_map(fan).collect())?.welded()?.0)
}

fn obj(path: &Path) -> Result<Polygons, Box<dyn Error>> {
    let (models, _) = tobj::load_obj(path, &tobj::LoadOptions { triangulate: true, ..Default::default() })?;
    let mut surface = Polygons::default();
    for model in models {
        let first = surface.vertices.len() as u32;
        surface.vertices.extend(model.mesh.positions.as_chunks::<3>().0.iter().map(|point| point.map(f64::from)));
        let triangles = model.mesh.indices.as_chunks::<3>().0.iter();
        surface.polygons.extend(triangles.map(|corners| corners.map(|i| i + first).to_vec()));
    }
    Ok(surface)
}

fn ply(path: &Path) -> Result<Polygons, Box<dyn Error>> {
    let mut file = fs::File::open(path)?;
    let ply = Parser::<DefaultElement>::new().read_ply(&mut file)?;
    let elements = |name: &str| ply.payload.get(name).ok_or_else(|| format!("a PLY file without the element {name}"));
    let coordinate = |vertex: &DefaultElement, name: &str| match vertex.get(name) {
        Some(Property::Float(x)) => Ok(f64::from(*x)),
        Some(Property::Double(x)) => Ok(*x),
        other => Err(format!("{name} of a vertex of a PLY file: expected a float or a double, found {other:?}")),
    };
    let corners = |face: &DefaultElement| -> Result<Vec<u32>, Box<dyn Error>> {
        match face.get("vertex_indices").or_else(|| face.get("vertex_index")) {
            Some(Property::ListInt(corners)) => corners.iter().map(|&i| Ok(u32::try_from(i)?)).collect(),
            Some(Property::ListUInt(corners)) => Ok(corners.clone()),
            Some(Property::ListUShort(corners)) => Ok(corners.iter().map(|&i| u32::from(i)).collect()),
            Some(Property::ListUChar(corners)) => Ok(corners.iter().map(|&i| u32::from(i)).collect()),
            other => Err(format!("a face of a PLY file: expected a list of indices, found {other:?}").into()),
        }
    };
    let place = |vertex: &DefaultElement| -> Result<[f64; 3], String> {
        Ok([coordinate(vertex, "x")?, coordinate(vertex, "y")?, coordinate(vertex, "z")?])
    };
    Ok(Polygons {
        vertices: elements("vertex")?.iter().map(place).collect::<Result<_, String>>()?,
        polygons: elements("face")?.iter().map(corners).collect::<Result<_, _>>()?,
    })
}

/// OFF: a head, the numbers of vertices and faces, then a line for each, with more numbers that are colours.
fn off(text: &str) -> Result<Polygons, Box<dyn Error>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut lines = lines.filter(|line| !line.is_empty());
    let head = lines.next().unwrap_or_default();
    let counts = match head.strip_prefix("COFF").or_else(|| head.strip_prefix("OFF")) {
        Some("") => lines.next().unwrap_or_default(),
        Some(counts) => counts,
        None => return Err(format!("expected OFF, found {head:?}").into()),
    };
    let [vertices, faces] = numbers::<usize, 2>(counts)?;
    let mut surface = Polygons::default();
    for _ in 0..vertices {
        surface.vertices.push(numbers(lines.next().unwrap_or_default())?);
    }
    for _ in 0..faces {
        let line = lines.next().unwrap_or_default();
        let [len] = numbers::<usize, 1>(line)?;
        let corners: Vec<u32> = line.split_whitespace().skip(1).take(len).map(str::parse).collect::<Result<_, _>>()?;
        if corners.len() < len {
            return Err(format!("a face of an OFF file: expected {len} corners, found {}", corners.len()).into());
        }
        surface.polygons.push(corners);
    }
    Ok(surface)
}

/// The first numbers of a line.
fn numbers<T: FromStr<Err: Error + 'static> + Copy + Default, const N: usize>(
    line: &str,
) -> Result<[T; N], Box<dyn Error>> {
    let mut values = [T::default(); N];
    let mut words = line.split_whitespace();
    for value in &mut values {
        *value = words.next().ok_or_else(|| format!("expected {N} numbers, found {line:?}"))?.parse()?;
    }
    Ok(values)
}
