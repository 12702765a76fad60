//! The steps of a membership change. `libraft.Change` is a Python class; this reads it.

use libraft::Change;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::arguments::{number, text, type_name};
use crate::error::{invalid, wrong_type};

/// The steps in any iterable of `libraft.Change`.
pub fn steps(value: &Bound<'_, PyAny>) -> PyResult<Vec<Change>> {
    let Ok(steps) = value.try_iter() else {
        let message = format!("changes must be a list of libraft.Change, not {}", type_name(value));
        return Err(wrong_type(value.py(), &message));
    };
    steps.map(|step| step_of(&step?)).collect()
}

fn step_of(step: &Bound<'_, PyAny>) -> PyResult<Change> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = step.py();
    if !step.is_instance(CLASS.import(py, "libraft.membership", "Change")?)? {
        let message = format!(
            "a step of a membership change must be a libraft.Change, not {}: \
             see Change.add_learner and so on",
            type_name(step)
        );
        return Err(wrong_type(py, &message));
    }
    let node_id = number(&step.getattr("node_id")?, "node_id")?;
    let address = || text(&step.getattr("address")?, "address");
    Ok(match text(&step.getattr("kind")?, "kind")?.as_str() {
        "add_learner" => Change::AddLearner { node_id, address: address()? },
        "add_voter" => Change::AddVoter { node_id, address: address()? },
        "promote" => Change::Promote { node_id },
        "demote" => Change::Demote { node_id },
        "remove" => Change::Remove { node_id },
        "set_address" => Change::SetAddress { node_id, address: address()? },
        other => {
            return Err(invalid(py, format!("there is no step '{other}' of a membership change")))
        }
    })
}
