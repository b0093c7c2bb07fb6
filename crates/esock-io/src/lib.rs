//! Sockets for esock: UDP encapsulation and raw IP, and the driver that joins a stack to them.
