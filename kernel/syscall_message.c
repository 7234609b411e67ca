// SPDX-License-Identifier: BSD-2-Clause
// Messages of sockets: send and receive in all their forms. Addresses and ancillary data come over the border here,
// and what waits waits here; the bytes are copied by the sockets, through kernel/stream.c.
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/socket.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

#define CONTROL_MOST  PAGE_SIZE // bytes of ancillary data of one message
#define MESSAGES_MOST 1024	// of one call, as on Linux

struct linux_msghdr {
	uint64_t name;
	uint32_t name_len, pad;
	uint64_t parts, part_count, control, control_len;
	uint32_t flags, pad2;
};
_Static_assert(sizeof(struct linux_msghdr) == 56, "struct msghdr");
struct linux_mmsghdr {
	struct linux_msghdr header;
	uint32_t bytes, pad;
};
_Static_assert(sizeof(struct linux_mmsghdr) == 64, "struct mmsghdr");

static bool may_wait(const struct stream *s, unsigned flags)
{
	return !(s->flags & STREAM_NONBLOCK) && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE));
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
	return stream_result(s, done, n);
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
			return stream_result(s, done, n);
		done += n;
		if (!m->io.left || !(m->flags & MSG_WAITALL) || m->flags & MSG_PEEK ||
		    m->control_len)
			return done;
	}
}

SYSCALL(44, sendto)
{
	struct socket_address name;
	struct stream_part part = {a[1], MIN(a[2], IO_MAX)};
	struct socket_message m = {.io = {.parts = &part, .count = 1, .left = part.len},
				   .flags = (unsigned)a[3]};
	int error;
	int64_t done;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	if (a[4]) {
		error = syscall_get_address(a[4], a[5], &name);
		m.name = &name;
	}
	done = error ? error : send_message(s, &m);
	stream_put(s);
	return done;
}

SYSCALL(45, recvfrom)
{
	struct socket_address name = {0};
	struct stream_part part = {a[1], MIN(a[2], IO_MAX)};
	struct socket_message m = {.io = {.parts = &part, .count = 1, .left = part.len},
				   .flags = (unsigned)a[3],
				   .name = &name};
	int error;
	int64_t done;
	struct stream *s = syscall_get_socket(a[0], &error);

	if (!s)
		return error;
	done = receive_message(s, &m);
	if (done >= 0 && a[4])
		error = syscall_put_address(a[4], a[5], &name);
	stream_put(s);
	return error ? error : done;
}

// ---- with a header ----

static int64_t send_one(struct stream *s, const struct linux_msghdr *h, struct socket_message *m)
{
	struct socket_address name;
	int error = 0;

	if (h->name) {
		error = syscall_get_address(h->name, h->name_len, &name);
		m->name = &name;
	}
	if (!error && h->control_len > CONTROL_MOST)
		error = -ENOBUFS;
	if (!error && h->control_len) {
		m->control_len = (uint32_t)h->control_len;
		error = user_read(m->control, h->control, (size_t)h->control_len);
	}
	return error ? error : send_message(s, m);
}

static int64_t receive_one(struct stream *s, struct linux_msghdr *h, struct socket_message *m)
{
	struct socket_address name = {0};
	int64_t done;

	m->name = &name;
	m->control_size = (uint32_t)MIN(h->control_len, CONTROL_MOST);
	done = receive_message(s, m);
	if (done < 0)
		return done;
	if (h->name && user_write(h->name, &name, MIN(h->name_len, name.len)))
		return -EFAULT;
	h->name_len = name.len;
	if (m->control_len && user_write(h->control, m->control, m->control_len))
		return -EFAULT;
	h->control_len = m->control_len;
	h->flags = m->out_flags;
	return done;
}

// One message with its header at that address. flags: MSG_*.
static int64_t with_header(struct stream *s, uintptr_t at, unsigned flags, bool send)
{
	struct linux_msghdr h;
	struct socket_message m = {.flags = flags};
	int64_t done;
	int error = user_get(&h, at);

	if (!error)
		error = syscall_get_parts(h.parts, h.part_count, &m.io);
	if (error)
		return error;
	if (h.control && h.control_len)
		m.control = kpages_alloc(CONTROL_MOST);
	else
		h.control_len = 0;
	if (h.control_len && !m.control)
		done = -ENOBUFS;
	else
		done = send ? send_one(s, &h, &m) : receive_one(s, &h, &m);
	if (m.control)
		kpages_free(m.control, CONTROL_MOST);
	syscall_put_parts(&m.io, h.part_count);
	if (!send && done >= 0 && user_put(at, &h))
		done = -EFAULT;
	return done;
}

static int64_t one_of(uint64_t fd, uintptr_t at, unsigned flags, bool send)
{
	int error;
	struct stream *s = syscall_get_socket(fd, &error);
	int64_t done;

	if (!s)
		return error;
	done = with_header(s, at, flags, send);
	stream_put(s);
	return done;
}
SYSCALL(46, sendmsg)
{
	return one_of(a[0], a[1], (unsigned)a[2], true);
}
SYSCALL(47, recvmsg)
{
	return one_of(a[0], a[1], (unsigned)a[2], false);
}

// How many messages went, or why the first did not. end: after that time no further one is waited for.
static int64_t many(uint64_t fd, uintptr_t at, uint64_t count, unsigned flags, uint64_t end,
		    bool send)
{
	int error;
	struct stream *s = syscall_get_socket(fd, &error);
	unsigned each = flags & ~(unsigned)MSG_WAITFORONE;
	int64_t n, result = 0;

	if (!s)
		return error;
	for (n = 0; n < (int64_t)MIN(count, MESSAGES_MOST);
	     n++, at += sizeof(struct linux_mmsghdr)) {
		uint32_t bytes;

		if (n && !send && clock_ns() >= end)
			break;
		result = with_header(s, at, each, send);
		if (result < 0)
			break;
		bytes = (uint32_t)result;
		result = user_write(at + __builtin_offsetof(struct linux_mmsghdr, bytes), &bytes,
				    sizeof(bytes));
		if (result < 0)
			break;
		if (flags & MSG_WAITFORONE)
			each |= MSG_DONTWAIT;
	}
	stream_put(s);
	return n ? n : result;
}
SYSCALL(307, sendmmsg)
{
	return many(a[0], a[1], a[2] & UINT32_MAX, (unsigned)a[3], UINT64_MAX, true);
}
SYSCALL(299, recvmmsg)
{
	uint64_t ns = 0;
	int error = a[4] ? syscall_get_time(a[4], &ns) : 0;

	if (error)
		return error;
	return many(a[0], a[1], a[2] & UINT32_MAX, (unsigned)a[3],
		    a[4] ? clock_ns() + ns : UINT64_MAX, false);
}
