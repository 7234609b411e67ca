// SPDX-License-Identifier: BSD-2-Clause
// /proc, a small one: what busybox' ps, top, free, uptime, mount, df, pidof and killall read, and what C libraries look
// for (self/exe, self/maps, self/fd). Texts are made when a file is read from its start.
#pragma once

#include "kernel/process.h"
#include "kernel/stream.h"

#define PROC_TEXT_MAX (1UL << 20) // bytes; what does not fit is cut off

struct proc_text {
	char *text; // kpages
	size_t len, size;
};
void proc_printf(struct proc_text *t, const char *format, ...) PRINTF_LIKE(2, 3);
void proc_put(struct proc_text *t, const char *bytes, size_t len);

enum kind { ROOT, SELF, MACHINE_FILE, PROCESS, PROCESS_FILE, LINK, FD_DIRECTORY, FD };
enum link { LINK_EXE, LINK_CWD, LINK_ROOT };

struct node { // what a path means
	enum kind kind;
	struct process *p; // with a reference; null: none
	unsigned file;	   // of one of the tables
	int fd;
};

typedef bool (*proc_visitor)(void *ctx, const char *name, size_t len, uint64_t number,
			     unsigned type, uint64_t next);
// procfs_dir.c: stream_ops' read_dir
int proc_read_root(uint64_t *cursor, proc_visitor visit, void *ctx);
int proc_read_process(uint64_t *cursor, proc_visitor visit, void *ctx);
int proc_read_fds(struct process *p, uint64_t *cursor, proc_visitor visit, void *ctx);
// procfs.c: the rows of its tables; null: none. The stream behind a descriptor, with a reference; null: none.
const char *proc_machine_name(uint64_t n);
const char *proc_process_name(uint64_t n, enum kind *kind);
struct stream *proc_stream_of_fd(struct process *p, int fd);

// Thread context; may sleep. `p`: with the caller's reference, perhaps a zombie.
typedef void (*proc_of_process)(struct proc_text *out, struct process *p);
typedef void (*proc_of_machine)(struct proc_text *out);

// procfs_process.c
void proc_stat(struct proc_text *out, struct process *p);
void proc_statm(struct proc_text *out, struct process *p);
void proc_status(struct proc_text *out, struct process *p);
void proc_cmdline(struct proc_text *out, struct process *p);
void proc_comm(struct proc_text *out, struct process *p);
void proc_maps(struct proc_text *out, struct process *p);
void proc_limits(struct proc_text *out, struct process *p);
// procfs_machine.c
void proc_meminfo(struct proc_text *out);
void proc_uptime(struct proc_text *out);
void proc_loadavg(struct proc_text *out);
void proc_mounts(struct proc_text *out);
void proc_cpuinfo(struct proc_text *out);
void proc_machine_stat(struct proc_text *out);
void proc_version(struct proc_text *out);
void proc_filesystems(struct proc_text *out);

void procfs_init(void); // boot
