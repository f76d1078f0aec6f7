//! Archives of named arrays: an `.npz` is a zip of `.npy` files.

use std::io::{self, Read, Seek, Write};

use npyz::{NpyFile, npz::file_name_from_array_name};
use zip::{CompressionMethod, ZipArchive, ZipWriter, read::ZipFile, result::ZipError, write::SimpleFileOptions};

use super::file::FileError;

/// An archive that is read.
pub(super) struct NpzReader<R>(ZipArchive<R>);

impl<R: Read + Seek> NpzReader<R> {
    /// Reads the directory.
    pub(super) fn new(input: R) -> Result<Self, FileError> {
        Ok(Self(ZipArchive::new(input).map_err(io::Error::from)?))
    }

    /// The array of a name.
    ///
    /// # Errors
    /// [`FileError::Content`] if there is none; a failure of the reader.
    pub(super) fn array(&mut self, name: &'static str) -> Result<NpyFile<ZipFile<'_, R>>, FileError> {
        match self.0.by_name(&file_name_from_array_name(name)) {
            Ok(file) => Ok(NpyFile::new(file)?),
            Err(ZipError::FileNotFound) => {
                Err(FileError::Content { what: name, expected: "an array of that name", found: "none".to_owned() })
            }
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

/// An archive that is written.
pub(super) struct NpzWriter<W: Write + Seek>(ZipWriter<W>);

impl<W: Write + Seek> NpzWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self(ZipWriter::new(out))
    }

    /// Where the array of a name is written to, compressed, of any length.
    pub(super) fn begin(&mut self, name: &str) -> Result<&mut ZipWriter<W>, FileError> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
        self.0.start_file(file_name_from_array_name(name), options).map_err(io::Error::from)?;
        Ok(&mut self.0)
    }

    /// Writes the directory.
    pub(super) fn finish(self) -> Result<(), FileError> {
        self.0.finish().map_err(io::Error::from)?;
        Ok(())
    }
}
