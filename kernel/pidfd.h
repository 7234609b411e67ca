// SPDX-License-Identifier: BSD-2-Clause
// Processes as streams, for clone, waitid and the end of processes (kernel/pidfd.c).
#pragma once

#include "kernel/process.h"

// process_lock held. It is a zombie now; and: its number is free from now on.
void pidfds_tell(struct process *p);
void pidfds_leave(struct process *p);
// Thread context of a program. A descriptor (closed on exec) of that process; flags: STREAM_NONBLOCK. -ESRCH, -EINVAL
// (a thread's number), -EMFILE, -ENFILE.
int pidfd_make(int pid, unsigned flags) MUST_CHECK;
// The process' number, 0 when it is over, -EBADF; and whether waitid may wait.
int pidfd_number(int fd, bool *waits) MUST_CHECK;
