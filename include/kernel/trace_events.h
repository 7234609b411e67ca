// SPDX-License-Identifier: BSD-2-Clause
// One line an event: TRACE_EVENT(ID, "sentence with %a, %b and %c for the three arguments").
// %a is printed as a number, %xa in hex, %sa as a string with static life. Add yours in its group.

// scheduler
TRACE_EVENT(WTD_HOG, "a WTD of %sa ran for %b ns, over the hog limit")
TRACE_EVENT(WTD_WORKERS_MAX, "all %a workers are busy and %b WTDs wait")
TRACE_EVENT(THREAD_SLICE, "after %a WTDs in a row a ready thread gets a slice")
// memory
TRACE_EVENT(PMM_FAILED, "no block of order %a; %b frames free")
TRACE_EVENT(POOL_FULL, "pool %sa is at its maximum of %b")
// programs
TRACE_EVENT(SYSCALL_UNKNOWN, "system call %a of process %b at %xc is not served")
// disks
TRACE_EVENT(DISK_TROUBLE, "disk %sa: %sb; outstanding slots %xc")
