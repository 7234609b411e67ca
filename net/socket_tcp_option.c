// SPDX-License-Identifier: BSD-2-Clause
// Options of TCP sockets (net/socket_tcp.h; tcp(7), socket(7) for the numbers).
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "net/socket_tcp.h"
#include "net/stack.h"

enum {
	IPPROTO_TCP_LEVEL = 6,
	SO_KEEPALIVE = 9,
	SO_LINGER = 13,
	SO_ACCEPTCONN = 30,
	SO_ZEROCOPY = 60
};
enum {
	TCP_NODELAY_OPTION = 1,
	TCP_CORK = 3,
	TCP_KEEPIDLE_OPTION,
	TCP_KEEPINTVL_OPTION,
	TCP_KEEPCNT_OPTION,
	TCP_DEFER_ACCEPT = 9,
	TCP_QUICKACK = 12
};

static void set_keepalive(struct tcp_pcb *pcb, bool on)
{
	if (on)
		ip_set_option(pcb, SOF_KEEPALIVE);
	else
		ip_reset_option(pcb, SOF_KEEPALIVE);
}

static int set_tcp(struct tcp_socket *t, int name, int n)
{
	switch (name) {
	case TCP_NODELAY_OPTION:
		if (n)
			tcp_nagle_disable(t->pcb);
		else
			tcp_nagle_enable(t->pcb);
		return 0;
	case TCP_CORK:
		t->cork = n;
		if (!n && t->state == OPEN) {
			tcp_output(t->pcb);
			stack_flush();
		}
		return 0;
	case TCP_KEEPIDLE_OPTION:
		t->pcb->keep_idle = (u32_t)n * 1000;
		return 0;
	case TCP_KEEPINTVL_OPTION:
		t->pcb->keep_intvl = (u32_t)n * 1000;
		return 0;
	case TCP_KEEPCNT_OPTION:
		t->pcb->keep_cnt = (u32_t)n;
		return 0;
	case TCP_DEFER_ACCEPT:
	case TCP_QUICKACK:
		return 0; // hints
	default:
		return -ENOPROTOOPT;
	}
}

int tcp_socket_set_option(struct stream *s, int level, int name, const void *value, uint32_t len)
{
	struct tcp_socket *t = tcp_of(s);
	int n, error = 0;

	if (socket_get_int(value, len, &n))
		return -EINVAL;
	if (level == SOL_SOCKET && name == SO_LINGER && len >= 8) {
		t->linger_on = n;
		memcpy(&t->linger_seconds, (const char *)value + 4, sizeof(int));
		return 0;
	}
	if (level == SOL_SOCKET && name == SO_ZEROCOPY) {
		if (n != 0 && n != 1)
			return -EINVAL;
		t->zerocopy_on = n;
		return 0;
	}
	if (level != IPPROTO_TCP_LEVEL && !(level == SOL_SOCKET && name == SO_KEEPALIVE))
		return socket_set_common(s, level, name, value, len);
	wtd_disable();
	if (!t->pcb)
		error = tcp_socket_need_pcb(t);
	if (!error && t->state == LISTENING)
		error = 0; // what is accepted starts with the defaults
	else if (!error && level == SOL_SOCKET)
		set_keepalive(t->pcb, n);
	else if (!error)
		error = set_tcp(t, name, n);
	wtd_enable();
	return error;
}

int tcp_socket_get_option(struct stream *s, int level, int name, void *value, uint32_t *len)
{
	struct tcp_socket *t = tcp_of(s);
	int n;

	if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
		n = t->state == LISTENING;
	else if (level == SOL_SOCKET && name == SO_ZEROCOPY)
		n = t->zerocopy_on;
	else if (level == SOL_SOCKET && name == SO_KEEPALIVE)
		n = t->pcb && t->state != LISTENING && ip_get_option(t->pcb, SOF_KEEPALIVE);
	else if (level == IPPROTO_TCP_LEVEL && name == TCP_NODELAY_OPTION)
		n = t->pcb && t->state != LISTENING && tcp_nagle_disabled(t->pcb);
	else if (level == IPPROTO_TCP_LEVEL && name == TCP_CORK)
		n = t->cork;
	else
		return socket_get_common(s, level, name, SOCK_STREAM, value, len);
	*len = MIN(*len, (uint32_t)sizeof(n));
	memcpy(value, &n, *len);
	return 0;
}
