// SPDX-License-Identifier: BSD-2-Clause
// Calls on names. Each comes in an old form and an "at" form; both end in the same function.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/syscall_name.h"
#include "kernel/usercopy.h"

enum { O_CLOEXEC = 02000000, O_PATH = 010000000 };

struct name name_get(int at_fd, uintptr_t user)
{
	struct name n = {.text = kpages_alloc(PATH_BYTES)};
	int64_t len = n.text ? path_from_user(n.text, at_fd, user, &n.directory) : -ENOMEM;

	if (len < 0) {
		n.error = (int)len;
		return n;
	}
	n.provider = path_provider(n.text, (size_t)len, &n.rest, &n.rest_len);
	n.error = n.provider ? 0 : -ENOENT;
	return n;
}

void name_put(struct name *n)
{
	if (n->text)
		kpages_free(n->text, PATH_BYTES);
}

bool name_is_empty(uintptr_t path, uint64_t flags)
{
	char first;

	return flags & AT_EMPTY_PATH && (!path || (!user_get(&first, path) && !first));
}

// ---- open ----

static int64_t open_at(int at_fd, uintptr_t path, uint64_t flags, uint64_t mode)
{
	struct name n = name_get(at_fd, path);
	struct stream *s;
	int error = n.error, fd = -1;

	// First, so that nothing is made or cut short which there is no descriptor for.
	if (!error)
		error = MIN(fd = files_promise(flags & O_CLOEXEC), 0);
	if (!error && n.directory && flags & OPEN_CREATE)
		error = -EISDIR;
	if (n.directory)
		flags |= OPEN_DIRECTORY;
	if (!error)
		error = path_open(n.text, strlen(n.text), (unsigned)flags,
				  (uint32_t)mode & ~process_current()->umask & 07777, &s);
	name_put(&n);
	if (!error)
		files_keep(fd, s);
	else if (fd >= 0)
		files_give_up(fd);
	return error ? error : fd;
}
SYSCALL(2, open)
{
	return open_at(AT_FDCWD, a[0], a[1], a[2]);
}
SYSCALL(257, openat)
{
	return open_at((int)a[0], a[1], a[2], a[3]);
}
SYSCALL(85, creat)
{
	return open_at(AT_FDCWD, a[0], OPEN_CREATE | OPEN_TRUNCATE | STREAM_WRONLY, a[1]);
}

// ---- stat ----

int64_t name_stat(int at_fd, uintptr_t path, uint64_t flags, struct stream_stat *st)
{
	struct name n;
	int64_t error;

	if (name_is_empty(path, flags) && at_fd != AT_FDCWD) {
		struct stream *s = files_find(at_fd);

		error = s ? stream_stat_of(s, st) : -EBADF;
		if (s)
			stream_put(s);
		return error;
	}
	n = name_get(at_fd, path);
	error = n.error;
	if (!error)
		error = n.provider->stat(n.rest, n.rest_len,
					 n.directory || !(flags & AT_SYMLINK_NOFOLLOW), st);
	if (!error && n.directory && (st->mode & 0170000) != 040000)
		error = -ENOTDIR;
	name_put(&n);
	return error;
}

static int64_t put_stat_at(int at_fd, uintptr_t path, uintptr_t out, uint64_t flags)
{
	struct stream_stat st;
	int64_t error = name_stat(at_fd, path, flags, &st);

	return error ? error : syscall_put_stat(out, &st);
}
SYSCALL(4, stat)
{
	return put_stat_at(AT_FDCWD, a[0], a[1], 0);
}
SYSCALL(6, lstat)
{
	return put_stat_at(AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW);
}
SYSCALL(262, newfstatat)
{
	return put_stat_at((int)a[0], a[1], a[2], a[3]);
}

static int64_t access_at(int at_fd, uintptr_t path, uint64_t mode, uint64_t flags)
{
	struct stream_stat st;
	int64_t error =
	    mode & ~7UL ? -EINVAL : name_stat(at_fd, path, flags & ~(uint64_t)AT_EACCESS, &st);

	if (!error && mode & 1 && (st.mode & 0170000) == 0100000 && !(st.mode & 0111))
		error = -EACCES;
	return error;
}
SYSCALL(21, access)
{
	return access_at(AT_FDCWD, a[0], a[1], 0);
}
SYSCALL(269, faccessat)
{
	return access_at((int)a[0], a[1], a[2], 0);
}
SYSCALL(439, faccessat2)
{
	return access_at((int)a[0], a[1], a[2], a[3]);
}

static int64_t read_link_at(int at_fd, uintptr_t path, uintptr_t out, uint64_t size)
{
	struct name n = name_get(at_fd, path);
	char *target = kpages_alloc(PATH_BYTES);
	int64_t len = n.error;

	if (!target)
		len = -ENOMEM;
	if (!len && (int64_t)size <= 0)
		len = -EINVAL;
	if (!len)
		len = n.provider->read_link
			  ? n.provider->read_link(n.rest, n.rest_len, target, PATH_BYTES)
			  : -EINVAL;
	if (len > 0) {
		len = MIN(len, (int64_t)size);
		if (user_write(out, target, (size_t)len))
			len = -EFAULT;
	}
	if (target)
		kpages_free(target, PATH_BYTES);
	name_put(&n);
	return len;
}
SYSCALL(89, readlink)
{
	return read_link_at(AT_FDCWD, a[0], a[1], a[2]);
}
SYSCALL(267, readlinkat)
{
	return read_link_at((int)a[0], a[1], a[2], a[3]);
}

// ---- changing names ----

static int64_t make_dir_at(int at_fd, uintptr_t path, uint64_t mode)
{
	struct name n = name_get(at_fd, path);
	int64_t error = n.error;

	if (!error)
		error =
		    n.provider->make_dir
			? n.provider->make_dir(n.rest, n.rest_len,
					       (uint32_t)mode & ~process_current()->umask & 0777)
			: -EROFS;
	name_put(&n);
	return error;
}
SYSCALL(83, mkdir)
{
	return make_dir_at(AT_FDCWD, a[0], a[1]);
}
SYSCALL(258, mkdirat)
{
	return make_dir_at((int)a[0], a[1], a[2]);
}

static int64_t remove_at(int at_fd, uintptr_t path, bool directory)
{
	struct name n = name_get(at_fd, path);
	int64_t error = n.error;

	if (!error)
		error =
		    n.provider->remove ? n.provider->remove(n.rest, n.rest_len, directory) : -EROFS;
	name_put(&n);
	return error;
}
SYSCALL(87, unlink)
{
	return remove_at(AT_FDCWD, a[0], false);
}
SYSCALL(84, rmdir)
{
	return remove_at(AT_FDCWD, a[0], true);
}
SYSCALL(263, unlinkat)
{
	return a[2] & ~(uint64_t)AT_REMOVEDIR ? -EINVAL
					      : remove_at((int)a[0], a[1], a[2] & AT_REMOVEDIR);
}

enum two { RENAME, RENAME_NEW, LINK, LINK_FOLLOW };

static int64_t with_two(int from_fd, uintptr_t from, int to_fd, uintptr_t to, enum two what)
{
	struct name f = name_get(from_fd, from), t = name_get(to_fd, to);
	int64_t error = f.error ? f.error : t.error;

	if (!error && f.provider != t.provider)
		error = -EXDEV;
	if (!error && (what == LINK || what == LINK_FOLLOW))
		error = f.provider->link ? f.provider->link(f.rest, f.rest_len, what == LINK_FOLLOW,
							    t.rest, t.rest_len)
					 : -EROFS;
	else if (!error)
		error = f.provider->rename ? f.provider->rename(f.rest, f.rest_len, t.rest,
								t.rest_len, what == RENAME_NEW)
					   : -EROFS;
	name_put(&f);
	name_put(&t);
	return error;
}
SYSCALL(82, rename)
{
	return with_two(AT_FDCWD, a[0], AT_FDCWD, a[1], RENAME);
}
SYSCALL(264, renameat)
{
	return with_two((int)a[0], a[1], (int)a[2], a[3], RENAME);
}
SYSCALL(316, renameat2)
{
	return a[4] > 1 ? -EINVAL
			: with_two((int)a[0], a[1], (int)a[2], a[3], a[4] ? RENAME_NEW : RENAME);
}
SYSCALL(86, link)
{
	return with_two(AT_FDCWD, a[0], AT_FDCWD, a[1], LINK);
}
SYSCALL(265, linkat)
{
	if (a[4] & ~(uint64_t)AT_SYMLINK_FOLLOW)
		return -EINVAL;
	return with_two((int)a[0], a[1], (int)a[2], a[3], a[4] ? LINK_FOLLOW : LINK);
}

static int64_t symlink_at(uintptr_t target, int at_fd, uintptr_t path)
{
	struct name n = name_get(at_fd, path);
	char *text = kpages_alloc(PATH_BYTES);
	int64_t len = text ? user_read_text(text, target, PATH_BYTES) : -ENOMEM;

	if (len >= 0)
		len = n.error ? n.error
		      : n.provider->symlink
			  ? n.provider->symlink(text, (size_t)len, n.rest, n.rest_len)
			  : -EROFS;
	if (text)
		kpages_free(text, PATH_BYTES);
	name_put(&n);
	return len;
}
SYSCALL(88, symlink)
{
	return symlink_at(a[0], AT_FDCWD, a[1]);
}
SYSCALL(266, symlinkat)
{
	return symlink_at(a[0], (int)a[1], a[2]);
}

SYSCALL(76, truncate)
{
	struct name n = name_get(AT_FDCWD, a[0]);
	struct stream *s;
	int64_t error = n.error;

	if (!error)
		error = path_open(n.text, strlen(n.text), STREAM_WRONLY, 0, &s);
	if (!error) {
		error = stream_set_size(s, a[1]);
		stream_put(s);
	}
	name_put(&n);
	return error;
}

// ---- the working directory ----

static int64_t change_directory(const char *path)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider(path, strlen(path), &rest, &rest_len);
	struct stream_stat st;
	int error = p ? p->stat(rest, rest_len, true, &st) : -ENOENT;

	if (!error && (st.mode & 0170000) != 040000)
		error = -ENOTDIR;
	if (!error)
		process_set_directory(process_current(), path);
	return error;
}

SYSCALL(80, chdir)
{
	struct name n = name_get(AT_FDCWD, a[0]);
	int64_t error = n.error ? n.error : change_directory(n.text);

	name_put(&n);
	return error;
}

SYSCALL(81, fchdir)
{
	char *path = kpages_alloc(PATH_BYTES);
	int64_t error = path ? files_directory_path((int)a[0], path) : -ENOMEM;

	if (!error)
		error = change_directory(path);
	if (path)
		kpages_free(path, PATH_BYTES);
	return error;
}

SYSCALL(79, getcwd)
{
	char *path = kpages_alloc(PATH_BYTES);
	int64_t len;

	if (!path)
		return -ENOMEM;
	process_get_directory(process_current(), path);
	len = (int64_t)strlen(path) + 1;
	if ((uint64_t)len > a[1])
		len = -ERANGE;
	else if (user_write(a[0], path, (size_t)len))
		len = -EFAULT;
	kpages_free(path, PATH_BYTES);
	return len;
}

SYSCALL(95, umask)
{
	struct process *p = process_current();
	uint32_t old = p->umask;

	p->umask = (uint32_t)a[0] & 0777;
	return old;
}
