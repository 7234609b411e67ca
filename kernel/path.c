// SPDX-License-Identifier: BSD-2-Clause
// Paths of programs: made absolute and normalised as text (kernel/files.h), then handed to the provider with the
// longest prefix (include/kernel/stream.h). "a/../b" is "b" even where a is a symbolic link: docs/linux-abi.md
// says so.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

static struct name_provider *providers; // longest prefix first; constant after boot

void name_provider_register(struct name_provider *provider)
{
	struct name_provider **link = &providers;

	while (*link && strlen((*link)->prefix) >= strlen(provider->prefix))
		link = &(*link)->next;
	provider->next = *link;
	*link = provider;
}

const struct name_provider *path_provider(const char *path, size_t len, const char **rest,
					  size_t *rest_len)
{
	for (const struct name_provider *p = providers; p; p = p->next) {
		size_t n = strlen(p->prefix);

		if (n == 1)
			n = 0; // "/"
		if (len < n || memcmp(path, p->prefix, n) || (len > n && path[n] != '/'))
			continue;
		*rest = path + n;
		*rest_len = len - n;
		return p;
	}
	return NULL;
}

static size_t drop_last(const char *out, size_t len)
{
	while (len && out[len - 1] != '/')
		len--;
	return len ? len - 1 : 0;
}

// out holds `len` bytes of an absolute path without a slash at its end ("" is the root).
static int64_t append(char *out, size_t len, const char *path, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		size_t start, n;

		while (at < bytes && path[at] == '/')
			at++;
		for (start = at; at < bytes && path[at] != '/'; at++)
			;
		n = at - start;
		if (!n || (n == 1 && path[start] == '.'))
			continue;
		if (n == 2 && path[start] == '.' && path[start + 1] == '.') {
			len = drop_last(out, len);
			continue;
		}
		if (len + 1 + n + 1 > PATH_BYTES)
			return -ENAMETOOLONG;
		out[len++] = '/';
		memmove(out + len, path + start, n);
		len += n;
	}
	return (int64_t)len;
}

int64_t path_normalise(char *out, const char *directory, const char *path, size_t len)
{
	int64_t have = 0;

	if (path[0] != '/')
		have = append(out, 0, directory, strlen(directory));
	if (have >= 0)
		have = append(out, (size_t)have, path, len);
	if (have < 0)
		return have;
	if (!have)
		out[have++] = '/';
	out[have] = 0;
	return have;
}

// "a/", "a/." and "a/.." can only mean directories.
static bool ends_as_directory(const char *text, size_t len)
{
	size_t start = len;

	while (start && text[start - 1] != '/')
		start--;
	return start == len || !strcmp(text + start, ".") || !strcmp(text + start, "..");
}

int64_t path_from_user(char *out, int at_fd, uintptr_t user, bool *must_dir)
{
	char *text = kpages_alloc(2 * PATH_BYTES), *directory;
	int64_t len = text ? user_read_text(text, user, PATH_BYTES) : -ENOMEM;

	if (len == 0)
		len = -ENOENT;
	if (len > 0) {
		directory = text + PATH_BYTES;
		process_get_directory(process_current(), directory);
		if (at_fd != AT_FDCWD && text[0] != '/') {
			int error = files_directory_path(at_fd, directory);

			len = error ? error : len;
		}
		if (must_dir && len > 0)
			*must_dir = ends_as_directory(text, (size_t)len);
		if (len > 0)
			len = path_normalise(out, directory, text, (size_t)len);
	}
	if (text)
		kpages_free(text, 2 * PATH_BYTES);
	return len;
}

int path_open(const char *path, size_t len, unsigned flags, uint32_t mode, struct stream **out)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider(path, len, &rest, &rest_len);
	int error = p && p->open ? p->open(rest, rest_len, flags, mode, out) : -ENOENT;

	if (error)
		return error;
	if ((*out)->ops->kind == STREAM_DIRECTORY) {
		if ((*out)->path) // /proc/PID/fd: the open directory itself, which has its path
			return 0;
		(*out)->path = kpages_alloc(len + 1);
		if (!(*out)->path) {
			stream_put(*out);
			return -ENOMEM;
		}
		(*out)->path_len = len;
		memcpy((*out)->path, path, len);
	} else if (flags & OPEN_DIRECTORY && !(flags & OPEN_NAMELESS)) {
		stream_put(*out);
		return -ENOTDIR;
	}
	return 0;
}

int files_directory_path(int fd, char *out)
{
	struct stream *s = files_find(fd);
	int error = !s ? -EBADF : s->path ? 0 : -ENOTDIR;

	if (!error) {
		memcpy(out, s->path, s->path_len);
		out[s->path_len] = 0;
	}
	if (s)
		stream_put(s);
	return error;
}
