//! Tests of the recorder: whole conversations made by hand, and bytes at random.
