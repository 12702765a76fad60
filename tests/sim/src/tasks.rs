//! The threads of nodes, as coroutines: bodies that may block in a connection or in a callback of the program.
//!
//! Each has a stack of its own, and all run on the world's thread, one at a time. A body that would block is left in the
//! middle of its call ([`pause`]), and goes on there when the world says so. Nothing of the core may hold a lock then that
//! somebody else wants.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::event::{Event, LifeId, Time};
use crate::hub::Hub;

/// Enough for the deepest call of the core in a build without optimisation; of what is not touched no memory is used.
const STACK_BYTES: usize = 1 << 20;

type Body = Box<dyn FnOnce() + Send>;
type Thread = Coroutine<(), (), (), DefaultStack>;

/// What a task is for, as far as the node that it belongs to has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Errand,
    Visit,
    Delivery,
}

pub struct Task {
    pub node: usize,
    pub life: LifeId,
    pub purpose: Purpose,
    thread: Thread,
    /// Where it can leave its stack, once it runs.
    yielder: Option<*const Yielder<(), ()>>,
    /// Counts the pauses: who wakes a task for an earlier one is too late.
    wait: u64,
}

/// The tasks of a world.
#[derive(Default)]
pub struct Tasks {
    tasks: BTreeMap<u64, Task>,
    next: u64,
}

thread_local! {
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Current {
    yielder: *const Yielder<(), ()>,
    task: u64,
    wait: u64,
}

/// Names one pause of one task, for whoever is to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub task: u64,
    pub wait: u64,
}

impl Pause {
    pub fn event(self) -> Event {
        Event::Task { task: self.task, wait: self.wait }
    }
}

/// The pause that the running task would make next; `None` outside of tasks, where nothing may block.
pub fn next_pause() -> Option<Pause> {
    CURRENT.get().map(|current| Pause { task: current.task, wait: current.wait })
}

/// Leaves the running task until the world goes on with it. Whoever calls this has arranged for that.
pub fn pause() {
    let Some(current) = CURRENT.get() else { return };
    // SAFETY: the yielder lives on the stack of the coroutine that runs now, below this call: it was put there by
    // `Tasks::resume`, which replaces it before another one runs.
    let yielder = unsafe { &*current.yielder };
    yielder.suspend(());
}

/// Has the running task sleep. Outside of a task nothing happens.
pub fn sleep(hub: &Hub, length: Time) {
    let Some(next) = next_pause() else { return };
    hub.core().after(length, next.event());
    pause();
}

impl Tasks {
    /// Makes a task, which does not run yet: the first event for it begins it.
    pub fn add(&mut self, node: usize, life: LifeId, purpose: Purpose, body: Body) -> Pause {
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| {
            DefaultStack::new(STACK_BYTES).expect("the process has memory for a stack")
        });
        let number = self.next;
        self.next += 1;
        let thread = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            let yielder = std::ptr::from_ref(yielder);
            CURRENT.set(Some(Current { yielder, task: number, wait: 1 }));
            body();
        });
        self.tasks.insert(number, Task { node, life, purpose, thread, yielder: None, wait: 0 });
        Pause { task: number, wait: 0 }
    }

    /// The node, and the life of it, that a task belongs to.
    pub fn owner(&self, task: u64) -> Option<(usize, LifeId)> {
        self.tasks.get(&task).map(|task| (task.node, task.life))
    }

    /// Goes on with a task, if it is still in this pause. Returns what it was for if that was its end.
    pub fn resume(&mut self, pause: Pause) -> Option<Purpose> {
        let mut task = self.tasks.remove(&pause.task)?;
        if task.wait != pause.wait {
            self.tasks.insert(pause.task, task);
            return None;
        }
        task.wait += 1;
        let ended = task.go_on(pause.task);
        if !ended {
            self.tasks.insert(pause.task, task);
            return None;
        }
        STACKS.with_borrow_mut(|stacks| stacks.push(task.thread.into_stack()));
        Some(task.purpose)
    }

    /// Whether a life of a node has a task.
    pub fn has_any(&self, life: LifeId) -> bool {
        self.tasks.values().any(|task| task.life == life)
    }

    /// The tasks of a life that is over, as the pauses they are in: to be gone on with until they have ended.
    pub fn of_life(&self, life: LifeId) -> Vec<Pause> {
        let of_life = self.tasks.iter().filter(|(_, task)| task.life == life);
        of_life.map(|(number, task)| Pause { task: *number, wait: task.wait }).collect()
    }
}

impl Task {
    /// Whether it has ended.
    fn go_on(&mut self, number: u64) -> bool {
        // One that has begun finds its own yielder again.
        let (task, wait) = (number, self.wait);
        CURRENT.set(self.yielder.map(|yielder| Current { yielder, task, wait }));
        let result = self.thread.resume(());
        self.yielder = CURRENT.replace(None).map(|current| current.yielder);
        matches!(result, CoroutineResult::Return(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::random::Random;

    #[test]
    fn tasks_take_turns_and_a_late_waker_changes_nothing() {
        let hub = Hub::new(Random::new(1), 1, false);
        let mut tasks = Tasks::default();
        let said = Arc::new(Mutex::new(Vec::new()));
        let body = |name: &'static str| -> Body {
            let (said, hub) = (said.clone(), hub.clone());
            Box::new(move || {
                said.lock().unwrap().push((name, 1));
                sleep(&hub, 5);
                said.lock().unwrap().push((name, 2));
            })
        };
        let first = tasks.add(0, 1, Purpose::Errand, body("first"));
        let second = tasks.add(0, 1, Purpose::Visit, body("second"));
        assert_eq!(tasks.resume(first), None);
        assert_eq!(tasks.resume(first), None, "that pause is over");
        assert_eq!(tasks.resume(second), None);
        let second = Pause { wait: second.wait + 1, ..second };
        assert_eq!(tasks.resume(second), Some(Purpose::Visit));
        let first = Pause { wait: first.wait + 1, ..first };
        assert!(tasks.has_any(1));
        assert_eq!(tasks.resume(first), Some(Purpose::Errand));
        assert!(!tasks.has_any(1));
        let said = said.lock().unwrap().clone();
        assert_eq!(said, [("first", 1), ("second", 1), ("second", 2), ("first", 2)]);
    }
}
