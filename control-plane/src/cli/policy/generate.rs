//! `policy generate`: from a description of an API to the `Service` document that protects it, so that nobody types routes.
//!
//! What such a description can say and a policy cannot is named and left out, never bent into something alike. The document
//! is checked as `policy check` does before it is printed. Descriptions are other people's files: sizes, depths and counts are bounded.

mod descriptor;
mod draft;
mod openapi;

use std::path::{Path, PathBuf};

use clap::Args;
use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile, parse};

use crate::app::examine_documents;
use crate::cli::Failure;
use crate::cli::output::Output;
use draft::Draft;

/// The largest description.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The most operations that are looked at: so many actions a service can have.
const MAX_OPERATIONS: usize = 5_000;

/// So many of what is left out are told one by one.
const MAX_TOLD: usize = 100;

/// What `policy generate` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct GenerateArgs {
    /// An OpenAPI 3 document, JSON or YAML
    #[arg(long, value_name = "FILE", required_unless_present = "descriptor_set", conflicts_with = "descriptor_set")]
    openapi: Option<PathBuf>,
    /// A protobuf FileDescriptorSet, as `protoc --descriptor_set_out=FILE` or `buf build -o FILE` write it
    #[arg(long, value_name = "FILE")]
    descriptor_set: Option<PathBuf>,
    /// The name of the service; by default from the title or the package
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// An authority (host without port) that the service is called by; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// What stands before every path of an OpenAPI document; by default the path of its server
    #[arg(long, value_name = "PATH", conflicts_with = "descriptor_set")]
    base_path: Option<String>,
    /// Only this gRPC service, `package.Service`; may be repeated
    #[arg(long = "grpc-service", value_name = "SERVICE", conflicts_with = "openapi")]
    grpc_services: Vec<String>,
    /// Fail if anything is left out
    #[arg(long)]
    strict: bool,
}

/// Why no document is generated.
#[derive(Debug, thiserror::Error)]
enum GenerateError {
    #[error("`{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("`{}` has more than {MAX_BYTES} bytes\ngenerate from a part of it", .0.display())]
    Large(PathBuf),
    #[error("`{}` is no description that a service can be made of: {why}", .file.display())]
    Unusable { file: PathBuf, why: String },
    #[error("{0} of its operations cannot be said in a policy, which `--strict` refuses")]
    LeftOut(usize),
    #[error("the generated service has faults\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<PolicyFault>),
}

pub(in crate::cli) fn run(args: &GenerateArgs, out: &mut Output) -> Result<(), Failure> {
    let (file, read): (&Path, Read) = match (&args.openapi, &args.descriptor_set) {
        (Some(file), _) => (file, openapi::read),
        (None, Some(file)) => (file, descriptor::read),
        (None, None) => return Ok(()),
    };
    let draft = read(&bytes(file)?, args).map_err(|why| GenerateError::Unusable { file: file.to_owned(), why })?;
    let Draft { left_out, .. } = &draft;
    for (what, why) in left_out.iter().take(MAX_TOLD) {
        out.remark(format_args!("left out: {what}: {}", why.replace('\n', "\n  ")));
    }
    if let Some(more) = left_out.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        out.remark(format_args!("left out: {more} more"));
    }
    if args.strict && !left_out.is_empty() {
        return Err(GenerateError::LeftOut(left_out.len()).into());
    }
    let text = draft.document(args.service.as_deref(), &args.hosts).to_yaml()?;
    let files = [PolicyFile { name: "generated".to_owned(), text: text.clone() }];
    let checked = parse(&files).and_then(|documents| examine_documents(&documents).policy);
    checked.map_err(GenerateError::Faults)?;
    let name = file.file_name().unwrap_or_default().display().to_string();
    out.line(format_args!("# From {}, by `grantmesh policy generate`.", name.escape_debug()));
    out.line(text.trim_end());
    Ok(())
}

/// Reads a description; the error says why it is none.
type Read = fn(&[u8], &GenerateArgs) -> Result<Draft, String>;

fn bytes(file: &Path) -> Result<Vec<u8>, GenerateError> {
    let failed = |error| GenerateError::Read(file.to_owned(), error);
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_BYTES {
        return Err(GenerateError::Large(file.to_owned()));
    }
    std::fs::read(file).map_err(failed)
}
