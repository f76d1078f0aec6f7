//! Waiting.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

/// The result of a future of wgpu, all of which are ready at once outside of browsers.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}
