//! Tests of libraft that run whole processes.
