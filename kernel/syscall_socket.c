// SPDX-License-Identifier: BSD-2-Clause
// BSD sockets: addresses, options and messages come over the border here; what waits waits here. The sockets
// themselves are the makers' (include/kernel/socket.h).
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/socket.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { SOCK_TYPE_MASK = 0xf, SOCK_CLOEXEC = 02000000, SOCK_NONBLOCK = STREAM_NONBLOCK };
enum { MSG_DONTWAIT = 0x40, MSG_WAITALL = 0x100, MSG_NOSIGNAL = 0x4000, MSG_PEEK_FLAG = 2 };
#define OPTION_MAX 256

static socket_maker maker; // constant after boot

void socket_maker_register(socket_maker make)
{
	maker = make;
}

struct linux_msghdr {
	uint64_t name;
	uint32_t name_len, pad;
	uint64_t parts, part_count, control, control_len;
	uint32_t flags, pad2;
};
_Static_assert(sizeof(struct linux_msghdr) == 56, "struct msghdr");

// The socket of a descriptor, with a reference; null and why.
static struct stream *get_socket(uint64_t fd, int *error)
{
	struct stream *s = files_find((int)fd);

	*error = !s ? -EBADF : s->ops->socket ? 0 : -ENOTSOCK;
	if (*error && s) {
		stream_put(s);
		s = NULL;
	}
	return s;
}

static int get_address(uintptr_t at, uint64_t len, struct socket_address *out)
{
	*out = (struct socket_address){.len = (uint32_t)len};
	if (len < sizeof(out->family) || len > sizeof(out->family) + sizeof(out->bytes))
		return -EINVAL;
	return user_read(out, at, (size_t)len);
}

// As much as the program has room for, and how long it really is.
static int put_address(uintptr_t at, uintptr_t len_at, const struct socket_address *name)
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
	error = maker ? maker((int)a[0], type, (int)a[2], &s) : -EAFNOSUPPORT;
	if (error)
		return error;
	s->flags |= (uint32_t)a[1] & SOCK_NONBLOCK;
	error = files_take(s, 0, a[1] & SOCK_CLOEXEC);
	if (error < 0)
		stream_put(s);
	return error;
}

SYSCALL(49, bind)
{
	struct socket_address name;
	int error;
	struct stream *s = get_socket(a[0], &error);

	if (!s)
		return error;
	error = get_address(a[1], a[2], &name);
	if (!error)
		error = s->ops->socket->bind ? s->ops->socket->bind(s, &name) : -EOPNOTSUPP;
	stream_put(s);
	return error;
}

static int connect_and_wait(struct stream *s, const struct socket_address *name)
{
	const struct socket_ops *ops = s->ops->socket;
	int error = ops->connect(s, name);

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
	struct stream *s = get_socket(a[0], &error);

	if (!s)
		return error;
	error = get_address(a[1], a[2], &name);
	if (!error)
		error = s->ops->socket->connect ? connect_and_wait(s, &name) : -EOPNOTSUPP;
	stream_put(s);
	return error;
}

SYSCALL(50, listen)
{
	int error;
	struct stream *s = get_socket(a[0], &error);

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
	struct stream *from, *s;
	int error;

	if (flags & ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	from = get_socket(fd, &error);
	if (!from)
		return error;
	error = accept_one(from, &s, &name);
	stream_put(from);
	if (error)
		return error;
	s->flags |= (uint32_t)flags & SOCK_NONBLOCK;
	error = put_address(at, len_at, &name);
	if (!error)
		error = files_take(s, 0, flags & SOCK_CLOEXEC);
	if (error < 0)
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
	struct stream *s = get_socket(a[0], &error);

	if (!s)
		return error;
	error = s->ops->socket->name(s, peer, &name);
	if (!error)
		error = put_address(a[1], a[2], &name);
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
	struct stream *s = get_socket(a[0], &error);

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
	struct stream *s = get_socket(a[0], &error);

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
	struct stream *s = get_socket(a[0], &error);

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

// ---- messages ----

static bool may_wait(const struct stream *s, unsigned flags)
{
	return !(s->flags & STREAM_NONBLOCK) && !(flags & MSG_DONTWAIT);
}

static int64_t send_message(struct stream *s, struct socket_message *m)
{
	const struct socket_ops *ops = s->ops->socket;
	int64_t done = 0, n;

	do {
		n = ops->send(s, m);
		if (n == -EAGAIN && may_wait(s, m->flags)) {
			n = stream_wait(s, STREAM_OUT, ops->send_timeout_ns(s));
			if (!n)
				continue;
		}
		if (n < 0)
			break;
		done += n;
	} while (m->io.left && (m->flags & MSG_DONTWAIT ? n > 0 : true));
	if (!done && n == -EPIPE && !(m->flags & MSG_NOSIGNAL))
		signal_task(task_current(), SIGPIPE, NULL);
	return done ? done : n;
}

static int64_t receive_message(struct stream *s, struct socket_message *m)
{
	const struct socket_ops *ops = s->ops->socket;
	int64_t done = 0, n;

	for (;;) {
		n = ops->receive(s, m);
		if (n == -EAGAIN && may_wait(s, m->flags)) {
			n = stream_wait(s, STREAM_IN, ops->receive_timeout_ns(s));
			if (!n)
				continue;
		}
		if (n <= 0)
			return done ? done : n;
		done += n;
		if (!m->io.left || !(m->flags & MSG_WAITALL) || m->flags & MSG_PEEK_FLAG)
			return done;
	}
}

SYSCALL(44, sendto)
{
	struct socket_address name;
	struct stream_part part = {a[1], a[2]};
	struct socket_message m = {.io = {.parts = &part, .count = 1, .left = a[2]},
				   .flags = (unsigned)a[3]};
	int error;
	int64_t done;
	struct stream *s = get_socket(a[0], &error);

	if (!s)
		return error;
	if (a[4]) {
		error = get_address(a[4], a[5], &name);
		m.name = &name;
	}
	done = error ? error : send_message(s, &m);
	stream_put(s);
	return done;
}

SYSCALL(45, recvfrom)
{
	struct socket_address name = {0};
	struct stream_part part = {a[1], a[2]};
	struct socket_message m = {.io = {.parts = &part, .count = 1, .left = a[2]},
				   .flags = (unsigned)a[3],
				   .name = &name};
	int error;
	int64_t done;
	struct stream *s = get_socket(a[0], &error);

	if (!s)
		return error;
	done = receive_message(s, &m);
	if (done >= 0 && a[4])
		error = put_address(a[4], a[5], &name);
	stream_put(s);
	return error ? error : done;
}

static int64_t with_header(uint64_t fd, uintptr_t at, unsigned flags, bool send)
{
	struct linux_msghdr h;
	struct socket_address name = {0};
	struct socket_message m = {.flags = flags};
	int error;
	int64_t done;
	struct stream *s = get_socket(fd, &error);

	if (!s)
		return error;
	error = user_get(&h, at);
	if (!error)
		error = syscall_get_parts(h.parts, h.part_count, &m.io);
	if (error) {
		stream_put(s);
		return error;
	}
	if (send && h.name) {
		error = get_address(h.name, h.name_len, &name);
		m.name = &name;
	} else if (!send) {
		m.name = &name;
	}
	done = error ? error : send ? send_message(s, &m) : receive_message(s, &m);
	syscall_put_parts(&m.io, h.part_count);
	stream_put(s);
	if (send || done < 0)
		return done;
	if (h.name && user_write(h.name, &name, MIN(h.name_len, name.len)))
		return -EFAULT;
	h.name_len = name.len;
	h.control_len = 0;
	h.flags = m.out_flags;
	return user_put(at, &h) ? -EFAULT : done;
}
SYSCALL(46, sendmsg)
{
	return with_header(a[0], a[1], (unsigned)a[2], true);
}
SYSCALL(47, recvmsg)
{
	return with_header(a[0], a[1], (unsigned)a[2], false);
}
