// SPDX-License-Identifier: BSD-2-Clause
// /proc: names, files and directories (kernel/procfs.h). A provider of names (include/kernel/stream.h).
#include "kernel/procfs.h"
#include "kernel/files.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"

static const struct {
	const char *name;
	proc_of_machine make;
} machine_files[] = {
    {"cpuinfo", proc_cpuinfo}, {"filesystems", proc_filesystems}, {"loadavg", proc_loadavg},
    {"meminfo", proc_meminfo}, {"mounts", proc_mounts},		  {"stat", proc_machine_stat},
    {"uptime", proc_uptime},   {"version", proc_version},
};

static void mounts_of_process(struct proc_text *out, struct process *p)
{
	proc_mounts(out);
}

static const struct {
	const char *name;
	enum kind kind;
	enum link link;
	proc_of_process make;
} process_files[] = {
    {"cmdline", PROCESS_FILE, 0, proc_cmdline},
    {"comm", PROCESS_FILE, 0, proc_comm},
    {"cwd", LINK, LINK_CWD, NULL},
    {"exe", LINK, LINK_EXE, NULL},
    {"fd", FD_DIRECTORY, 0, NULL},
    {"limits", PROCESS_FILE, 0, proc_limits},
    {"maps", PROCESS_FILE, 0, proc_maps},
    {"mounts", PROCESS_FILE, 0, mounts_of_process},
    {"root", LINK, LINK_ROOT, NULL},
    {"stat", PROCESS_FILE, 0, proc_stat},
    {"statm", PROCESS_FILE, 0, proc_statm},
    {"status", PROCESS_FILE, 0, proc_status},
};

const char *proc_machine_name(uint64_t n)
{
	return n < ARRAY_SIZE(machine_files) ? machine_files[n].name : NULL;
}

const char *proc_process_name(uint64_t n, enum kind *kind)
{
	if (n >= ARRAY_SIZE(process_files))
		return NULL;
	*kind = process_files[n].kind;
	return process_files[n].name;
}

struct proc_file {
	struct stream stream;
	struct node node;
	struct mutex lock;
	struct proc_text text; // (lock)
};
static struct pool proc_pool = POOL_INIT("proc file", struct proc_file, 16384); // of all programs

// ---- from a path to a node ----

static bool next_name(const char **path, size_t *len, const char **name, size_t *name_len)
{
	while (*len && **path == '/') {
		++*path;
		--*len;
	}
	for (*name = *path, *name_len = 0; *len && **path != '/'; ++*path, --*len)
		++*name_len;
	return *name_len > 0;
}

static bool is(const char *name, size_t len, const char *wanted)
{
	return len == strlen(wanted) && !memcmp(name, wanted, len);
}

static int find_in_process(const char *path, size_t len, struct node *n)
{
	const char *name;
	size_t name_len;
	uint64_t number;

	if (!next_name(&path, &len, &name, &name_len))
		return 0;
	for (n->file = 0; n->file < ARRAY_SIZE(process_files); n->file++)
		if (is(name, name_len, process_files[n->file].name))
			break;
	if (n->file == ARRAY_SIZE(process_files))
		return -ENOENT;
	n->kind = process_files[n->file].kind;
	if (!next_name(&path, &len, &name, &name_len))
		return 0;
	if (n->kind != FD_DIRECTORY)
		return -ENOTDIR;
	if (!kparse_u64(name, name_len, &number) || number >= FILES_MAX || len)
		return -ENOENT;
	n->kind = FD;
	n->fd = (int)number;
	return 0;
}

static void node_put(struct node *n)
{
	if (n->p)
		process_put(n->p);
	n->p = NULL;
}

static int find(const char *path, size_t len, bool follow, struct node *n)
{
	const char *name;
	size_t name_len;
	uint64_t number;
	int error;

	*n = (struct node){.kind = ROOT};
	if (!next_name(&path, &len, &name, &name_len))
		return 0;
	for (unsigned f = 0; f < ARRAY_SIZE(machine_files); f++)
		if (is(name, name_len, machine_files[f].name)) {
			*n = (struct node){.kind = MACHINE_FILE, .file = f};
			return len ? -ENOTDIR : 0;
		}
	n->kind = PROCESS;
	if (is(name, name_len, "self")) {
		if (!len && !follow) {
			n->kind = SELF;
			return 0;
		}
		n->p = process_current();
		process_get(n->p);
	} else if (kparse_u64(name, name_len, &number) && number <= INT32_MAX) {
		n->p = process_find((int)number);
	}
	if (!n->p)
		return -ENOENT;
	error = find_in_process(path, len, n);
	if (error)
		node_put(n);
	return error;
}

// ---- links ----

// The stream behind a descriptor of a process, with a reference; null: there is none.
struct stream *proc_stream_of_fd(struct process *p, int fd)
{
	struct files *files;
	struct stream *s = NULL;

	spin_lock_wtd(&process_lock);
	files = p->files;
	if (files)
		files_get(files);
	spin_unlock_wtd(&process_lock);
	if (!files)
		return NULL;
	mutex_lock(&files->lock);
	if ((uint32_t)fd < files->size && files->slots[fd].stream) {
		s = files->slots[fd].stream;
		stream_get(s);
	}
	mutex_unlock(&files->lock);
	files_put(files);
	return s;
}

static int64_t fd_target(const struct node *n, char *target, size_t size)
{
	static const char *const kinds[] = {
	    [STREAM_FILE] = "file",	  [STREAM_DIRECTORY] = "dir", [STREAM_PIPE] = "pipe",
	    [STREAM_SOCKET] = "socket",	  [STREAM_DEVICE] = "device", [STREAM_TERMINAL] = "",
	    [STREAM_EVENT] = "anon_inode"};
	struct stream *s = proc_stream_of_fd(n->p, n->fd);
	struct stream_stat st;
	int64_t len;

	if (!s)
		return -ENOENT;
	if (s->path)
		len = ksnprintf(target, size, "%s", s->path);
	else if (s->ops->kind == STREAM_TERMINAL)
		len = ksnprintf(target, size, "/dev/console");
	else if (!(len = stream_stat_of(s, &st)))
		len = ksnprintf(target, size, "%s:[%lu]", kinds[s->ops->kind],
				(unsigned long)st.number);
	stream_put(s);
	return len;
}

static int64_t link_target(const struct node *n, char *target, size_t size)
{
	if (n->kind == SELF)
		return ksnprintf(target, size, "%d", process_current()->pid);
	if (n->kind == FD)
		return fd_target(n, target, size);
	if (n->kind != LINK)
		return -EINVAL;
	switch (process_files[n->file].link) {
	case LINK_EXE: // a name changes with execve of the process itself only
		kstrlcpy(target, n->p->program, size);
		break;
	case LINK_CWD:
		process_get_directory(n->p, target);
		break;
	default:
		kstrlcpy(target, "/", size);
	}
	return (int64_t)strlen(target);
}

// A link must lead out of /proc, or to what is no link there: a working directory may have come through one.
static int64_t link_target_followed(const struct node *n, char *target)
{
	int64_t len = link_target(n, target, PATH_BYTES);
	struct node next;
	bool again = false;

	if (len >= 6 && !memcmp(target, "/proc/", 6) &&
	    !find(target + 5, (size_t)len - 5, true, &next)) {
		again = next.kind == LINK || next.kind == FD;
		node_put(&next);
	}
	return again ? -ELOOP : len;
}

static int64_t proc_read_link(const char *path, size_t len, char *target, size_t size)
{
	struct node n;
	int64_t result = find(path, len, false, &n);

	if (result)
		return result;
	result = size < PATH_BYTES ? -ERANGE : link_target(&n, target, size);
	node_put(&n);
	return result;
}

// ---- what stat says ----

static void fill_stat(const struct node *n, struct stream_stat *out)
{
	static const uint32_t modes[] = {[ROOT] = 040555,	   [SELF] = 0120777,
					 [MACHINE_FILE] = 0100444, [PROCESS] = 040555,
					 [PROCESS_FILE] = 0100444, [LINK] = 0120777,
					 [FD_DIRECTORY] = 040500,  [FD] = 0120700};

	*out = (struct stream_stat){.device = 3,
				    .number = (n->p ? (uint64_t)n->p->pid << 24 : 0) +
					      (uint64_t)n->kind * 0x100000 + n->file * 0x10000U +
					      (uint32_t)n->fd + 1,
				    .links = 1,
				    .mode = modes[n->kind],
				    .block_bytes = PAGE_SIZE};
}

// Through a link to what it leads to.
static int stat_target(const struct node *n, struct stream_stat *out)
{
	char *target;
	const char *rest;
	size_t rest_len;
	const struct name_provider *p;
	int64_t len;

	if (n->kind == FD) {
		struct stream *s = proc_stream_of_fd(n->p, n->fd);
		int error = s ? stream_stat_of(s, out) : -ENOENT;

		if (s)
			stream_put(s);
		return error;
	}
	target = kpages_alloc(PATH_BYTES);
	len = target ? link_target_followed(n, target) : -ENOMEM;
	if (len >= 0) {
		p = path_provider(target, (size_t)len, &rest, &rest_len);
		len = p ? p->stat(rest, rest_len, true, out) : -ENOENT;
	}
	if (target)
		kpages_free(target, PATH_BYTES);
	return (int)len;
}

static int proc_stat_name(const char *path, size_t len, bool follow, struct stream_stat *out)
{
	struct node n;
	int error = find(path, len, follow, &n);

	if (error)
		return error;
	if (n.kind == FD && !follow) {
		struct stream *s = proc_stream_of_fd(n.p, n.fd);

		error = s ? 0 : -ENOENT;
		if (s)
			stream_put(s);
	}
	fill_stat(&n, out);
	if (!error && follow && (n.kind == LINK || n.kind == FD))
		error = stat_target(&n, out);
	node_put(&n);
	return error;
}

// ---- files ----

static struct proc_file *file_of(struct stream *s)
{
	return CONTAINER_OF(s, struct proc_file, stream);
}

static void text_free(struct proc_text *t)
{
	if (t->text)
		user_kpages_free(t->text, t->size);
	*t = (struct proc_text){0};
}

static int64_t file_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct proc_file *f = file_of(s);
	size_t bytes = 0;
	int error = 0;

	mutex_lock(&f->lock);
	if (!offset) {
		text_free(&f->text);
		if (f->node.kind == MACHINE_FILE)
			machine_files[f->node.file].make(&f->text);
		else
			process_files[f->node.file].make(&f->text, f->node.p);
	}
	if (offset < f->text.len) {
		bytes = (size_t)MIN(io->left, f->text.len - offset);
		error = stream_io_out(io, f->text.text + offset, bytes);
	}
	mutex_unlock(&f->lock);
	return error ? error : (int64_t)bytes;
}

static int file_stat(struct stream *s, struct stream_stat *out)
{
	fill_stat(&file_of(s)->node, out);
	return 0;
}

static void file_close(struct stream *s)
{
	struct proc_file *f = file_of(s);

	text_free(&f->text);
	node_put(&f->node);
	pool_free(&proc_pool, f);
}
static const struct stream_ops file_ops = {
    .kind = STREAM_FILE, .read = file_read, .stat = file_stat, .close = file_close};

// ---- directories ----

static int dir_read(struct stream *s, uint64_t *cursor, proc_visitor visit, void *ctx)
{
	struct node *n = &file_of(s)->node;

	return n->kind == ROOT	    ? proc_read_root(cursor, visit, ctx)
	       : n->kind == PROCESS ? proc_read_process(cursor, visit, ctx)
				    : proc_read_fds(n->p, cursor, visit, ctx);
}
static const struct stream_ops dir_ops = {
    .kind = STREAM_DIRECTORY, .read_dir = dir_read, .stat = file_stat, .close = file_close};

// ---- open ----

static int open_target(const struct node *n, unsigned flags, struct stream **out)
{
	char *target;
	int64_t len;

	if (n->kind == FD) { // the open file itself, as it is
		*out = proc_stream_of_fd(n->p, n->fd);
		return *out ? 0 : -ENOENT;
	}
	target = kpages_alloc(PATH_BYTES);
	len = target ? link_target_followed(n, target) : -ENOMEM;
	if (len >= 0)
		len = path_open(target, (size_t)len, flags & ~(unsigned)OPEN_CREATE, 0, out);
	if (target)
		kpages_free(target, PATH_BYTES);
	return (int)len;
}

static int proc_open(const char *path, size_t len, unsigned flags, uint32_t mode,
		     struct stream **out)
{
	struct proc_file *f;
	struct node n;
	int error = find(path, len, true, &n);
	bool is_dir = n.kind == ROOT || n.kind == PROCESS || n.kind == FD_DIRECTORY;

	if (error)
		return error;
	if (n.kind == LINK || n.kind == FD) {
		error = flags & OPEN_NOFOLLOW ? -ELOOP : open_target(&n, flags, out);
		node_put(&n);
		return error;
	}
	if (flags & STREAM_ACCMODE)
		error = is_dir ? -EISDIR : -EACCES;
	f = error ? NULL : pool_alloc(&proc_pool);
	if (!f) {
		node_put(&n);
		return error ? error : -ENFILE;
	}
	stream_init(&f->stream, is_dir ? &dir_ops : &file_ops, flags & STREAM_NONBLOCK);
	f->lock = (struct mutex)MUTEX_INIT("proc file");
	f->node = n;
	*out = &f->stream;
	return 0;
}

static struct name_provider provider = {
    .prefix = "/proc", .open = proc_open, .stat = proc_stat_name, .read_link = proc_read_link};

void procfs_init(void)
{
	name_provider_register(&provider);
}
