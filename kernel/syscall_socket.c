// SPDX-License-Identifier: BSD-2-Clause
// BSD sockets: addresses, options and messages come over the border here; what waits waits here. The sockets
// themselves are the makers' (include/kernel/socket.h).
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/local.h"
#include "kernel/socket.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { SOCK_TYPE_MASK = 0xf, SOCK_CLOEXEC = 02000000, SOCK_NONBLOCK = STREAM_NONBLOCK };
#define OPTION_MAX 256

static socket_maker maker; // constant after boot
static socket_asked asks;  // constant after boot

void socket_maker_register(socket_maker make, socket_asked asked)
{
	maker = make;
	asks = asked;
}

int socket_ask_maker(unsigned request, uintptr_t argument)
{
	return asks ? asks(request, argument) : -ENOTTY;
}

struct stream *syscall_get_socket(uint64_t fd, int *error)
{
	struct stream *s = files_find((int)fd);

	*error = !s ? -EBADF : s->ops->socket ? 0 : -ENOTSOCK;
	if (*error && s) {
		stream_put(s);
		s = NULL;
	}
	return s;
}

int syscall_get_address(uintptr_t at, uint64_t len, struct socket_address *out)
{
	*out = (struct socket_address){.len = (uint32_t)len};
	if (len < sizeof(out->family) || len > sizeof(out->family) + sizeof(out->bytes))
		return -EINVAL;
	return user_read(out, at, (size_t)len);
}

int syscall_put_address(uintptr_t at, uintptr_t len_at, const struct socket_address *name)
{
	uint32_t room, len = name->len;

	if (!at)
		return 0;
	if (user_get(&room, len_at))
		return -EFAULT;
	if ((int32_t)room < 0)
		return -EINVAL;
	if (user_write(at, name, MIN(room, len)) || user_put(len_at, &len))
		return -EFAULT;
	return 0;
}

SYSCALL(41, socket)
{
	int type = (int)a[1] & SOCK_TYPE_MASK;
	struct stream *s;
	int error;

	if (a[1] & ~(uint64_t)(SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (a[0] == AF_UNIX)
		error = local_socket_new(type, (int)a[2], &s);
	else
		error = maker ? maker((int)a[0], type, (int)a[2], &s) : -EAFNOSUPPORT;
	if (error)
		return error;
	s->flags |= (uint32_t)a[1] & SOCK_NONBLOCK;
	error = files_take(s, 0, a[1] & SOCK_CLOEXEC);
	if (error < 0)
		stream_put(s);
	return error;
}

SYSCALL(53, socketpair)
{
	int type = (int)a[1] & SOCK_TYPE_MASK, fds[2] = {-1, -1}, error;
	struct stream *ends[2];

	if (a[1] & ~(uint64_t)(SOCK_TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (a[0] != AF_UNIX)
		return a[0] == AF_INET || a[0] == AF_INET6 || a[0] == AF_NETLINK ? -EOPNOTSUPP
										 : -EAFNOSUPPORT;
	error = local_socket_pair(type, (int)a[2], ends);
	for (unsigned n = 0; n < 2 && !error; n++) {
		ends[n]->flags |= (uint32_t)a[1] & SOCK_NONBLOCK;
		fds[n] = files_take(ends[n], 0, a[1] & SOCK_CLOEXEC);
		if (fds[n] >= 0)
			continue;
		error = fds[n];
		stream_put(ends[n]);
		if (n)
			(void)files_close(fds[0]);
		else
			stream_put(ends[1]);
	}
	if (!error && user_write(a[3], fds, sizeof(fds))) {
		(void)files_close(fds[0]);
		(void)files_close(fds[1]);
		error = -EFAULT;
	}
	return error;
}

SYSCALL(49, bind)
{
	struct socket_address name;
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = syscall_get_address(a[1], a[2], &name);
	if (!error)
		error = s->ops->socket->bind ? s->ops->socket->bind(s, &name) : -EOPNOTSUPP;
	stream_put(s);
	return error;
}

static int connect_and_wait(struct stream *s, const struct socket_address *name)
{
	const struct socket_ops *ops = s->ops->socket;
	int error;

	while ((error = ops->connect(s, name)) == -EAGAIN && !(s->flags & STREAM_NONBLOCK)) {
		error = stream_wait(s, STREAM_OUT,
				    ops->send_timeout_ns(s)); // a listener's queue is full
		if (error)
			return error;
	}
	if (error != -EINPROGRESS || s->flags & STREAM_NONBLOCK)
		return error;
	error = stream_wait(s, STREAM_OUT, ops->send_timeout_ns(s));
	if (error == -EAGAIN)
		return -EINPROGRESS;
	if (error)
		return -EINTR;
	return -ops->error(s);
}

SYSCALL(42, connect)
{
	struct socket_address name;
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = syscall_get_address(a[1], a[2], &name);
	if (!error)
		error = s->ops->socket->connect ? connect_and_wait(s, &name) : -EOPNOTSUPP;
	stream_put(s);
	return error;
}

SYSCALL(50, listen)
{
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = s->ops->socket->listen ? s->ops->socket->listen(s, (int)a[1]) : -EOPNOTSUPP;
	stream_put(s);
	return error;
}

static int accept_one(struct stream *s, struct stream **out, struct socket_address *name)
{
	const struct socket_ops *ops = s->ops->socket;
	int error;

	if (!ops->accept)
		return -EOPNOTSUPP;
	while ((error = ops->accept(s, out, name)) == -EAGAIN && !(s->flags & STREAM_NONBLOCK)) {
		error = stream_wait(s, STREAM_IN, ops->receive_timeout_ns(s));
		if (error)
			break;
	}
	return error;
}

static int64_t accept_fd(uint64_t fd, uintptr_t at, uintptr_t len_at, uint64_t flags)
{
	struct socket_address name;
	struct stream *from, *s = NULL;
	int error, new;

	if (flags & ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	from = syscall_get_socket(fd, &error);
	if (!from)
		return error;
	// First, so that a connection which there is no descriptor for stays where it waits.
	new = files_promise(flags & SOCK_CLOEXEC);
	error = new < 0 ? new : accept_one(from, &s, &name);
	stream_put(from);
	if (!error) {
		s->flags |= (uint32_t)flags & SOCK_NONBLOCK;
		error = syscall_put_address(at, len_at, &name);
	}
	if (!error) {
		files_keep(new, s);
		return new;
	}
	if (new >= 0)
		files_give_up(new);
	if (s)
		stream_put(s);
	return error;
}
SYSCALL(43, accept)
{
	return accept_fd(a[0], a[1], a[2], 0);
}
SYSCALL(288, accept4)
{
	return accept_fd(a[0], a[1], a[2], a[3]);
}

static int64_t get_name(const uint64_t a[6], bool peer)
{
	struct socket_address name;
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = s->ops->socket->name(s, peer, &name);
	if (!error)
		error = syscall_put_address(a[1], a[2], &name);
	stream_put(s);
	return error;
}
SYSCALL(51, getsockname)
{
	return get_name(a, false);
}
SYSCALL(52, getpeername)
{
	return get_name(a, true);
}

SYSCALL(48, shutdown)
{
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = s->ops->socket->shutdown(s, (int)a[1]);
	stream_put(s);
	return error;
}

SYSCALL(54, setsockopt)
{
	uint8_t value[OPTION_MAX];
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	if (a[4] > sizeof(value))
		error = -EINVAL;
	else
		error = user_read(value, a[3], (size_t)a[4]);
	if (!error)
		error = s->ops->socket->set_option(s, (int)a[1], (int)a[2], value, (uint32_t)a[4]);
	stream_put(s);
	return error;
}

SYSCALL(55, getsockopt)
{
	uint8_t value[OPTION_MAX];
	uint32_t len;
	int error;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	error = user_get(&len, a[4]);
	if (!error && (int32_t)len < 0)
		error = -EINVAL;
	len = MIN(len, (uint32_t)sizeof(value));
	if (!error)
		error = s->ops->socket->get_option(s, (int)a[1], (int)a[2], value, &len);
	if (!error)
		error = user_write(a[3], value, len);
	if (!error)
		error = user_put(a[4], &len);
	stream_put(s);
	return error;
}
