// SPDX-License-Identifier: BSD-2-Clause
// Ancillary data of messages and the values of socket options, as Linux lays them out for x86-64
// (include/kernel/socket.h). Pure.
#include "kernel/kstring.h"
#include "kernel/socket.h"

struct linux_cmsghdr {
	uint64_t len; // with this header
	int32_t level, type;
};
_Static_assert(sizeof(struct linux_cmsghdr) == 16, "struct cmsghdr");

static uint32_t aligned(uint32_t n)
{
	return (n + 7) & ~7U;
}

int control_next(const struct socket_message *m, uint32_t *at, struct control *out)
{
	struct linux_cmsghdr h;

	if (*at + sizeof(h) > m->control_len)
		return 0;
	memcpy(&h, (const char *)m->control + *at, sizeof(h));
	if (h.len < sizeof(h) || h.len > m->control_len - *at)
		return -EINVAL;
	*out = (struct control){.level = h.level,
				.type = h.type,
				.data = (const char *)m->control + *at + sizeof(h),
				.len = (uint32_t)h.len - (uint32_t)sizeof(h)};
	*at += aligned((uint32_t)h.len);
	return 1;
}

uint32_t control_room(const struct socket_message *m)
{
	uint32_t left = m->control_size - MIN(m->control_size, m->control_len);

	return left > sizeof(struct linux_cmsghdr) ? left - (uint32_t)sizeof(struct linux_cmsghdr)
						   : 0;
}

void control_put(struct socket_message *m, int level, int type, const void *data, uint32_t len)
{
	uint32_t room = control_room(m);
	struct linux_cmsghdr h = {.level = level, .type = type};

	if (len > room) {
		m->out_flags |= MSG_CTRUNC;
		len = room;
	}
	if (!len)
		return;
	h.len = sizeof(h) + len;
	memcpy((char *)m->control + m->control_len, &h, sizeof(h));
	memcpy((char *)m->control + m->control_len + sizeof(h), data, len);
	m->control_len = MIN(aligned(m->control_len + (uint32_t)h.len), m->control_size);
}

// ---- options ----

int socket_get_int(const void *value, uint32_t len, int *out)
{
	if (len < sizeof(*out))
		return -EINVAL;
	memcpy(out, value, sizeof(*out));
	return 0;
}

int socket_put_int(void *value, uint32_t *len, int n)
{
	*len = MIN(*len, (uint32_t)sizeof(n));
	memcpy(value, &n, *len);
	return 0;
}

int socket_get_timeout(const void *value, uint32_t len, uint64_t *ns)
{
	struct {
		int64_t sec, usec;
	} t;

	if (len < sizeof(t))
		return -EINVAL;
	memcpy(&t, value, sizeof(t));
	if (t.sec < 0 || t.usec < 0 || t.usec >= 1000000)
		return -EDOM;
	*ns = (uint64_t)MIN(t.sec, 1L << 32) * NS_PER_SEC + (uint64_t)t.usec * NS_PER_US;
	if (!*ns)
		*ns = UINT64_MAX;
	return 0;
}

int socket_put_timeout(void *value, uint32_t *len, uint64_t ns)
{
	int64_t t[2] = {0, 0};

	if (ns != UINT64_MAX) {
		t[0] = (int64_t)(ns / NS_PER_SEC);
		t[1] = (int64_t)(ns % NS_PER_SEC / NS_PER_US);
	}
	*len = MIN(*len, (uint32_t)sizeof(t));
	memcpy(value, t, *len);
	return 0;
}
