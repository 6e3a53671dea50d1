//! Protobuf descriptors: an action for each method of the gRPC services.

use grantmesh_shared::wire::policy::stated;
use grantmesh_shared::wire::table::CriticalityWord;
use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use std::collections::BTreeSet;

use super::draft::Draft;
use super::{GenerateArgs, MAX_OPERATIONS};

/// The largest set: decoded it takes many times its bytes.
const MAX_SET_BYTES: usize = 2 * 1024 * 1024;

/// Makes a draft of a set of files.
pub(super) fn read(bytes: &[u8], args: &GenerateArgs) -> Result<Draft, String> {
    if bytes.len() > MAX_SET_BYTES {
        return Err(format!(
            "it has more than {MAX_SET_BYTES} bytes\nwrite it for the files of one service, without `--include_imports` and `--include_source_info`"
        ));
    }
    let set = FileDescriptorSet::decode(bytes).map_err(|error| format!("it is no FileDescriptorSet: {error}"))?;
    let mut draft = Draft::default();
    let mut operations = 0_usize;
    let (mut known, mut wanted) = (BTreeSet::new(), args.grpc_services.iter().collect::<BTreeSet<_>>());
    for file in &set.file {
        let package = file.package();
        for service in &file.service {
            let full =
                if package.is_empty() { service.name().to_owned() } else { format!("{package}.{}", service.name()) };
            if !args.grpc_services.is_empty() && !args.grpc_services.contains(&full) {
                continue;
            }
            wanted.remove(&full);
            if !known.insert(full.clone()) {
                draft.leave_out(full, "there are two services of this name");
                continue;
            }
            if draft.title.is_empty() {
                draft.title = if package.is_empty() { service.name() } else { package }.to_owned();
            }
            let mut methods = BTreeSet::new();
            operations = operations.saturating_add(service.method.len()).saturating_add(1);
            if operations > MAX_OPERATIONS {
                return Err(format!(
                    "it has more than {MAX_OPERATIONS} services and methods\nname those that are meant with `--grpc-service`"
                ));
            }
            for method in &service.method {
                let what = format!("{full}/{}", method.name());
                if !is_grpc(&full, method.name()) {
                    draft.leave_out(what.escape_debug().to_string(), "its name is none of protobuf's");
                } else if !methods.insert(method.name()) {
                    draft.leave_out(what, "there are two methods of this name");
                } else {
                    add(&mut draft, service.name(), &what, method);
                }
            }
        }
    }
    match wanted.first() {
        Some(missing) => Err(format!("there is no service `{missing}`")),
        None if known.is_empty() => Err("it has no services".to_owned()),
        None => Ok(draft),
    }
}

fn add(draft: &mut Draft, service: &str, grpc: &str, method: &MethodDescriptorProto) {
    let reads =
        method.options.as_ref().is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects);
    let streams = match (method.client_streaming(), method.server_streaming()) {
        (false, false) => None,
        (true, false) => Some("streams from the caller"),
        (false, true) => Some("streams to the caller"),
        (true, true) => Some("streams both ways"),
    };
    let short = format!("{service}.{}", method.name());
    draft.action((&short, &grpc.replace('/', ".")), |mut action| {
        action.description = streams.map(str::to_owned);
        action.grpc = Some(stated(grpc.to_owned()));
        action.criticality = reads.then_some(CriticalityWord::Low);
        action
    });
}

/// Whether these are names that protobuf allows; a set of descriptors may hold anything.
fn is_grpc(service: &str, method: &str) -> bool {
    let word = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    service.split('.').all(word) && word(method)
}
