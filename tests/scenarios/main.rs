//! Scenarios across real nodes, named by behaviour.

mod agreement_is_what_both_signed;
mod audit;
mod authoring;
mod bad_input_gets_a_clear_answer;
mod crash_loses_nothing_acknowledged;
mod ecosystem;
mod every_call_is_judged;
mod first_exchange;
mod foreign_files;
mod full_disk;
mod grants;
mod hostile_host;
mod hostile_partner;
mod hostile_request;
mod key_runbooks;
mod lakes;
mod pipeline;
mod policies;
mod postgres_is_the_warehouse;
mod promises;
mod receipts;
mod revocation_ends_access;
mod taking_back;
mod terms_hold;
mod upstream;
mod versions;
