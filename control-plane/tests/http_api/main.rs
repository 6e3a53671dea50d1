//! The HTTP side over the real router, use cases and SQLite: every refusal with its status and code, what filters are
//! answered, and the command line against a server that listens.

#[cfg(test)]
mod automatic;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod comfort;
#[cfg(test)]
mod delegations;
#[cfg(test)]
mod described;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod events;
#[cfg(test)]
mod filters;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod once;
#[cfg(test)]
mod over_time;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod policy_generate;
#[cfg(test)]
mod policy_in_force;
#[cfg(test)]
mod policy_tools;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod server;
#[cfg(test)]
mod signals;
