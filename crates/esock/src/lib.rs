//! SCTP associations for tokio: endpoints, associations, paths and their owners.
