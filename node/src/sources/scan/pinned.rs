//! A store in which a file is what it was when it was listed, or an error
//! (`spec/5-data-plane.md#D-180`).

use std::fmt;
use std::io::Seek as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::io::AsyncWriteExt as _;

/// A store that is only read, whose addresses say which file is meant **and what
/// it was**: `<store>/<etag>.<size>/<path>`.
///
/// A reader asks for a file in several requests, the last of them long after the
/// first. Each carries the pin, so that the parts of one answer come from one
/// state of the file. The pin stands in the address and not beside it because
/// readers of every format hand the address on; and the name of the store is in
/// it because the engine's cache of file footers is keyed by the address alone,
/// and two buckets may hold files of one name, size and time.
#[derive(Clone)]
pub(in crate::sources) struct Store {
    inner: Arc<dyn ObjectStore>,
    name: Arc<str>,
    /// Of files in the file system: the folder that no link may lead out of (A28).
    within: Option<Arc<PathBuf>>,
    /// Whether a whole file that comes over the network is laid on the disk first.
    spooled: bool,
    /// None in what the engines hold, or they would hold it for ever.
    lease: Option<Arc<Lease>>,
}

/// The largest file that is laid on the disk.
const MAX_SPOOLED_BYTES: u64 = 8 << 30;

/// The engines that know a store by its name, until the last table and the last
/// plan over it are gone.
#[derive(Debug)]
pub(super) struct Lease {
    url: ObjectStoreUrl,
    engines: Mutex<Vec<Weak<RuntimeEnv>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let engines = self.engines.get_mut();
        for engine in engines.into_iter().flat_map(|all| all.drain(..)) {
            if let Some(engine) = engine.upgrade() {
                // It was registered below; not to find it is as good.
                let _ = engine.deregister_object_store(self.url.as_ref());
            }
        }
    }
}

/// Names stores apart; a number is never used twice in a process.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// How the names begin.
const NAME: &str = "store-";

impl Store {
    /// A store of its own name.
    pub(in crate::sources) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        let name = format!("{NAME}{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = ObjectStoreUrl::parse(format!("comity://{name}"))
            .expect("a scheme and a name of letters and digits are an address");
        let engines = Mutex::default();
        Self {
            inner,
            name: name.into(),
            within: None,
            spooled: false,
            lease: Some(Arc::new(Lease { url, engines })),
        }
    }

    /// The file system, of which only what lies in the canonical folder `root` is
    /// read, after links are followed.
    pub(in crate::sources) fn local(root: PathBuf) -> Self {
        Self {
            within: Some(Arc::new(root)),
            ..Self::new(Arc::new(LocalFileSystem::new()))
        }
    }

    /// For readers that take a whole file which is no local one into memory.
    pub(in crate::sources) fn spooled(self) -> Self {
        Self {
            spooled: true,
            ..self
        }
    }

    /// Makes the store known to an engine, whose plans then name it by the address;
    /// the lease goes with the plan.
    pub(super) fn register(
        &self,
        engine: &Arc<RuntimeEnv>,
    ) -> Option<(ObjectStoreUrl, Arc<Lease>)> {
        let lease = self.lease.clone()?;
        let mut engines = lease.engines.lock().ok()?;
        if !engines.iter().any(|e| e.as_ptr() == Arc::as_ptr(engine)) {
            engine.register_object_store(lease.url.as_ref(), self.as_object_store());
            engines.push(Arc::downgrade(engine));
        }
        drop(engines);
        Some((lease.url.clone(), lease))
    }

    /// As a reader uses it.
    pub(in crate::sources) fn as_object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(Self {
            lease: None,
            ..self.clone()
        })
    }

    /// The file's meta data under its pinned address.
    pub(in crate::sources) fn pinned(&self, file: &ObjectMeta) -> Result<ObjectMeta> {
        let tag = file.e_tag.as_deref().unwrap_or_default();
        let tag = HEXLOWER.encode(tag.as_bytes());
        let location = format!("{}/{tag}.{}/{}", self.name, file.size, file.location);
        let location = Path::parse(location).map_err(Error::from);
        Ok(ObjectMeta {
            location: location.map_err(|e| DataFusionError::ObjectStore(Box::new(e)))?,
            ..file.clone()
        })
    }

    /// What the file is now.
    pub(in crate::sources) async fn head(&self, location: &Path) -> Result<ObjectMeta, Error> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        self.confine(location).await?;
        Ok(self.inner.get_opts(location, options).await?.meta)
    }

    /// A whole file of at most `limit` bytes.
    pub(in crate::sources) async fn read(
        &self,
        location: &Path,
        limit: u64,
    ) -> Result<(ObjectMeta, Vec<u8>), Error> {
        self.confine(location).await?;
        let found = self.inner.get_opts(location, GetOptions::default()).await?;
        if found.meta.size > limit {
            let size = found.meta.size;
            return Err(generic(format!(
                "{location} has {size} bytes, more than the {limit} that are read"
            )));
        }
        let meta = found.meta.clone();
        Ok((meta, found.bytes().await?.to_vec()))
    }

    /// The files below a folder.
    pub(in crate::sources) fn list(
        &self,
        folder: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        self.inner.list(Some(folder))
    }

    /// Looks where the links of a local path lead (`spec/5-data-plane.md#D-182`).
    async fn confine(&self, location: &Path) -> Result<(), Error> {
        let Some(root) = self.within.clone() else {
            return Ok(());
        };
        let file = LocalFileSystem::new().path_to_filesystem(location)?;
        let found = tokio::fs::canonicalize(&file).await;
        let found = found.map_err(|e| generic(format!("{}: {e}", file.display())))?;
        if found.starts_with(root.as_path()) {
            return Ok(());
        }
        let (file, root) = (file.display(), root.display());
        Err(generic(format!("{file} leads out of {root}")))
    }
}

/// What was listed, out of a pinned address.
struct Pin {
    tag: Option<String>,
    size: u64,
    path: Path,
}

impl Pin {
    fn parse(name: &str, location: &Path) -> Option<Self> {
        let (store, rest) = location.as_ref().split_once('/')?;
        let (pin, path) = rest.split_once('/')?;
        let (tag, size) = pin.split_once('.')?;
        let tag = String::from_utf8(HEXLOWER.decode(tag.as_bytes()).ok()?).ok()?;
        (store == name).then_some(())?;
        Some(Self {
            tag: Some(tag).filter(|tag| !tag.is_empty()),
            size: size.parse().ok()?,
            path: Path::parse(path).ok()?,
        })
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult, Error> {
        let whole = options.range.is_none();
        let pin = Pin::parse(&self.name, location);
        let pin = pin.ok_or_else(|| generic(format!("{location} is no address of this store")))?;
        self.confine(&pin.path).await?;
        options.if_match = pin.tag;
        let found = self.inner.get_opts(&pin.path, options).await;
        let mut found = found.map_err(|e| match e {
            Error::Precondition { .. } => changed(&pin.path),
            other => other,
        })?;
        // A server that does not know `If-Match` answers all the same.
        if found.meta.size != pin.size {
            return Err(changed(&pin.path));
        }
        found.meta.location = location.clone();
        match self.spooled && whole && !matches!(found.payload, GetResultPayload::File(..)) {
            true => spool(found).await,
            false => Ok(found),
        }
    }

    // `get_ranges` keeps its default, which comes through `get_opts`. The file
    // system's own way looks at no condition.

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult, Error> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path, Error>>,
    ) -> BoxStream<'static, Result<Path, Error>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult, Error> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<(), Error> {
        Err(read_only())
    }
}

/// The same file on the disk, without a name.
async fn spool(found: GetResult) -> Result<GetResult, Error> {
    let (meta, range) = (found.meta.clone(), found.range.clone());
    let (attributes, size) = (found.attributes.clone(), found.meta.size);
    if size > MAX_SPOOLED_BYTES {
        return Err(generic(format!(
            "{} has {size} bytes; of Arrow files in object stores at most {MAX_SPOOLED_BYTES} are read, write it as Parquet",
            meta.location
        )));
    }
    let disk = |e: std::io::Error| generic(format!("cannot lay a file on the disk: {e}"));
    let file = tempfile::tempfile().map_err(disk)?;
    let mut writer = tokio::fs::File::from_std(file);
    let mut bytes = found.into_stream();
    while let Some(part) = bytes.next().await {
        writer.write_all(&part?).await.map_err(disk)?;
    }
    writer.flush().await.map_err(disk)?;
    let mut file = writer.into_std().await;
    file.rewind().map_err(disk)?;
    Ok(GetResult {
        payload: GetResultPayload::File(file, "spooled".into()),
        meta,
        range,
        attributes,
    })
}

/// What a reader says, for people: the addresses above mean nothing to them, the
/// paths in them do.
pub(crate) fn without_addresses(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(NAME) {
        plain.push_str(before.strip_suffix("comity://").unwrap_or(before));
        rest = match path_of(after) {
            Some(path) => path,
            None => {
                plain.push_str(NAME);
                after
            }
        };
    }
    plain + rest
}

/// What stands behind `0/3961.12/`.
fn path_of(address: &str) -> Option<&str> {
    let (number, rest) = address.split_once('/')?;
    let (pin, path) = rest.split_once('/')?;
    let (tag, size) = pin.split_once('.')?;
    let all = |text: &str, is: fn(&u8) -> bool| text.as_bytes().iter().all(is);
    let is_pin = all(number, u8::is_ascii_digit)
        && all(tag, u8::is_ascii_hexdigit)
        && all(size, u8::is_ascii_digit);
    is_pin.then_some(path)
}

fn changed(path: &Path) -> Error {
    generic(format!(
        "{path} is not the file that was listed: it was replaced or changed meanwhile; publish the product again to read the new one"
    ))
}

fn read_only() -> Error {
    generic("sources are read by the addresses that were listed, and never written".to_owned())
}

fn generic(message: String) -> Error {
    Error::Generic {
        store: "comity",
        source: message.into(),
    }
}

// The name only: a store knows credentials.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_paths_and_no_addresses() {
        let said = "Error in CSV file store-0/3961.12/srv/a.csv: comity://store-13/.0/b.csv, twice";
        let plain = "Error in CSV file srv/a.csv: b.csv, twice";
        assert_eq!(without_addresses(said), plain);
        for other in ["store-0", "the store-room/of/a shop", "store-", ""] {
            assert_eq!(without_addresses(other), other);
        }
    }
}
