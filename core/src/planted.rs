//! Defects on purpose, for the tests that must see how a defect of the library is reported. Without the
//! feature `planted`, which only those tests switch on, there is none.

/// Whether a proposal asks for the defect of this name, as "planted: NAME".
pub(crate) fn asks_for(proposal: &[u8], defect: &str) -> bool {
    cfg!(feature = "planted")
        && proposal.strip_suffix(defect.as_bytes()).is_some_and(|rest| rest.ends_with(b"planted: "))
}
