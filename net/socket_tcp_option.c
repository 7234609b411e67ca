// SPDX-License-Identifier: BSD-2-Clause
// Options of TCP sockets (net/socket_tcp.h; tcp(7), ip(7), socket(7) for the numbers). They are the socket's, and a pcb
// has them as soon as there is one; what a listener has, the connections that it accepts have.
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/usercopy.h"
#include "lwip/priv/tcp_priv.h"
#include "net/socket_tcp.h"
#include "net/stack.h"
#include "tcp_path.h"
#include "tcp_rcvbuf.h"

enum { LEVEL_IP = 0, LEVEL_TCP = 6, LEVEL_IPV6 = 41 };
enum {
	SO_RCVBUF = 8,
	SO_KEEPALIVE = 9,
	SO_PRIORITY = 12,
	SO_LINGER,
	SO_ACCEPTCONN = 30,
	SO_ZEROCOPY = 60
};
enum { IP_TOS_OPTION = 1, IP_TTL_OPTION, IPV6_UNICAST_HOPS = 16, IPV6_TCLASS = 67 };
enum { IP_MTU_DISCOVER = 10, IP_MTU = 14, IPV6_MTU_DISCOVER = 23, IPV6_MTU };
enum { PMTUDISC_WANT = 1, PMTUDISC_PROBE = 3 };
enum {
	TCP_NODELAY_OPTION = 1,
	TCP_MAXSEG,
	TCP_CORK,
	TCP_KEEPIDLE_OPTION,
	TCP_KEEPINTVL_OPTION,
	TCP_KEEPCNT_OPTION,
	TCP_DEFER_ACCEPT = 9,
	TCP_INFO = 11,
	TCP_QUICKACK,
	TCP_CONGESTION,
	TCP_USER_TIMEOUT = 18
};
#define KEEP_SECONDS_MOST 32767 // as Linux has it
#define KEEP_COUNT_MOST	  127

static const char congestion[16] = "cubic"; // TCP_CA_NAME_MAX

static struct tcp_pcb *connection(const struct tcp_socket *t)
{
	return t->state == LISTENING ? NULL : t->pcb;
}

void tcp_socket_apply(struct tcp_socket *t)
{
	const struct tcp_options *o = &t->options;
	struct tcp_pcb *pcb = connection(t);

	if (!pcb)
		return;
	tcp_timed(pcb);
	if (o->nodelay)
		tcp_nagle_disable(pcb);
	else
		tcp_nagle_enable(pcb);
	if (o->keepalive)
		ip_set_option(pcb, SOF_KEEPALIVE);
	else
		ip_reset_option(pcb, SOF_KEEPALIVE);
	if (o->keep_idle)
		pcb->keep_idle = (u32_t)o->keep_idle * 1000;
	if (o->keep_interval)
		pcb->keep_intvl = (u32_t)o->keep_interval * 1000;
	if (o->keep_count)
		pcb->keep_cnt = (u32_t)o->keep_count;
	pcb->timers.user_timeout = (u32_t)o->user_timeout;
	pcb->tos = (u8_t)o->tos;
	if (o->ttl)
		pcb->ttl = (u8_t)o->ttl;
}

void tcp_socket_apply_window(struct tcp_socket *t)
{
	if (t->options.receive)
		tcp_rcvbuf_fix(t->pcb, (uint32_t)t->options.receive, true);
}

// ---- set ----

static int within(int *option, int n, int least, int most)
{
	if (n < least || n > most)
		return -EINVAL;
	*option = n;
	return 0;
}

static int set_tcp(struct tcp_socket *t, int name, int n)
{
	struct tcp_options *o = &t->options;

	switch (name) {
	case TCP_NODELAY_OPTION:
		o->nodelay = n;
		return 0;
	case TCP_CORK:
		t->cork = n;
		if (!n && t->pcb && t->state == OPEN) {
			tcp_output(t->pcb);
			stack_flush();
		}
		return 0;
	case TCP_KEEPIDLE_OPTION:
		return within(&o->keep_idle, n, 1, KEEP_SECONDS_MOST);
	case TCP_KEEPINTVL_OPTION:
		return within(&o->keep_interval, n, 1, KEEP_SECONDS_MOST);
	case TCP_KEEPCNT_OPTION:
		return within(&o->keep_count, n, 1, KEEP_COUNT_MOST);
	case TCP_DEFER_ACCEPT:
		o->defer = MAX(n, 0);
		return 0;
	case TCP_USER_TIMEOUT:
		return within(&o->user_timeout, n, 0, INT32_MAX);
	case TCP_QUICKACK:
		return 0; // a hint
	default:
		return -ENOPROTOOPT;
	}
}

static int set_ip(struct tcp_socket *t, int level, int name, int n)
{
	bool v6 = level == LEVEL_IPV6;

	if (name == (v6 ? IPV6_TCLASS : IP_TOS_OPTION))
		return within(&t->options.tos, v6 && n == -1 ? 0 : n & ~3, 0,
			      252); // RFC 3168: ECN's bits are TCP's
	if (name == (v6 ? IPV6_UNICAST_HOPS : IP_TTL_OPTION))
		return n == -1 ? 0 : within(&t->options.ttl, n, 1, 255);
	if (name == (v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER)) // always, and the sender is TCP
		return n >= PMTUDISC_WANT && n <= PMTUDISC_PROBE ? 0 : -EINVAL;
	return -ENOPROTOOPT;
}

// WTDs off. What the peer was told already stays.
static void set_window(struct tcp_socket *t, int bytes)
{
	t->options.receive = MAX(bytes, 1);
	if (!t->pcb || t->state != OPEN)
		return;
	tcp_rcvbuf_fix(t->pcb, (uint32_t)t->options.receive, false);
	tcp_recved(t->pcb, 0);
	stack_flush();
}

// WTDs off. -ENOPROTOOPT: none of TCP's own.
static int set_own(struct tcp_socket *t, int level, int name, int n)
{
	if (level == LEVEL_TCP)
		return set_tcp(t, name, n);
	if (level == LEVEL_IP || level == LEVEL_IPV6)
		return set_ip(t, level, name, n);
	if (name == SO_RCVBUF) {
		set_window(t, n);
		return -ENOPROTOOPT; // remembered as all sockets do
	} else if (name == SO_ZEROCOPY) {
		if (n != 0 && n != 1)
			return -EINVAL;
		t->zerocopy_on = n;
	} else if (name == SO_KEEPALIVE) {
		t->options.keepalive = n;
	} else if (name != SO_PRIORITY) { // a hint
		return -ENOPROTOOPT;
	}
	return 0;
}

int tcp_socket_set_option(struct stream *s, int level, int name, const void *value, uint32_t len)
{
	struct tcp_socket *t = tcp_of(s);
	int n, error;

	if (level == LEVEL_TCP && name == TCP_CONGESTION) // the one that there is
		return len == strlen(congestion) && !memcmp(value, congestion, len) ? 0 : -ENOENT;
	if (socket_get_int(value, len, &n))
		return -EINVAL;
	if (level == SOL_SOCKET && name == SO_LINGER) {
		if (len < 2 * sizeof(int))
			return -EINVAL;
		t->linger_on = n;
		memcpy(&t->linger_seconds, (const char *)value + sizeof(int), sizeof(int));
		return 0;
	}
	wtd_disable();
	error = set_own(t, level, name, n);
	if (!error)
		tcp_socket_apply(t);
	wtd_enable();
	return error == -ENOPROTOOPT ? socket_set_common(s, level, name, value, len) : error;
}

// ---- get ----

struct tcp_info { // Linux's, as far as we know what it asks for
	uint8_t state, ca_state, retransmits, probes, backoff, options, scales, flags;
	uint32_t rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets;
	uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
	uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
	uint32_t rcv_rtt, rcv_space, total_retrans;
};
_Static_assert(sizeof(struct tcp_info) == 104, "struct tcp_info up to total_retrans");

static uint8_t linux_state(const struct tcp_socket *t)
{
	static const uint8_t states[] = {
	    [CLOSED] = 7,      [LISTEN] = 10,	 [SYN_SENT] = 2,   [SYN_RCVD] = 3,
	    [ESTABLISHED] = 1, [FIN_WAIT_1] = 4, [FIN_WAIT_2] = 5, [CLOSE_WAIT] = 8,
	    [CLOSING] = 11,    [LAST_ACK] = 9,	 [TIME_WAIT] = 6};

	return t->state == LISTENING ? 10 : t->pcb ? states[t->pcb->state] : 7;
}

static void get_info(const struct tcp_socket *t, struct tcp_info *info)
{
	const struct tcp_pcb *pcb = connection(t);

	*info = (struct tcp_info){.state = linux_state(t)};
	if (!pcb)
		return;
	info->retransmits = pcb->nrtx;
	info->rto = (uint32_t)pcb->rto * TCP_TMR_INTERVAL * 1000;
	info->snd_mss = info->rcv_mss = info->advmss = pcb->mss;
	info->unacked = (pcb->snd_nxt - pcb->lastack + pcb->mss - 1) / pcb->mss;
	info->rtt = (uint32_t)((uint64_t)pcb->srtt * 1000 >> TCP_RTT_SHIFT);
	info->rttvar = (uint32_t)((uint64_t)pcb->rttvar * 1000 >> TCP_RTT_SHIFT);
	info->pmtu = tcp_path_mtu(pcb);
	info->snd_ssthresh = pcb->ssthresh / pcb->mss;
	info->snd_cwnd = pcb->cwnd / pcb->mss;
	info->rcv_space = pcb->rcv_wnd;
	info->options = (uint8_t)(pcb->flags & TF_WND_SCALE ? 4 : 0);
	info->scales = (uint8_t)(pcb->snd_scale | pcb->rcv_scale << 4);
}

static int get_tcp(const struct tcp_socket *t, int name, int *n)
{
	const struct tcp_options *o = &t->options;
	const struct tcp_pcb *pcb = connection(t);

	switch (name) {
	case TCP_NODELAY_OPTION:
		*n = o->nodelay;
		return 0;
	case TCP_MAXSEG:
		*n = pcb && t->state == OPEN ? pcb->mss : 536;
		return 0;
	case TCP_CORK:
		*n = t->cork;
		return 0;
	case TCP_KEEPIDLE_OPTION:
		*n = o->keep_idle ? o->keep_idle : (int)(TCP_KEEPIDLE_DEFAULT / 1000);
		return 0;
	case TCP_KEEPINTVL_OPTION:
		*n = o->keep_interval ? o->keep_interval : (int)(TCP_KEEPINTVL_DEFAULT / 1000);
		return 0;
	case TCP_KEEPCNT_OPTION:
		*n = o->keep_count ? o->keep_count : (int)TCP_KEEPCNT_DEFAULT;
		return 0;
	case TCP_DEFER_ACCEPT:
		*n = o->defer;
		return 0;
	case TCP_USER_TIMEOUT:
		*n = o->user_timeout;
		return 0;
	case TCP_QUICKACK:
		*n = 1;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_mtu(const struct tcp_socket *t, int *n)
{
	if (!connection(t) || t->state != OPEN)
		return -ENOTCONN;
	*n = tcp_path_mtu(t->pcb);
	return 0;
}

static int get_own(const struct tcp_socket *t, int level, int name, int *n)
{
	bool v6 = level == LEVEL_IPV6;

	if (level == LEVEL_TCP)
		return get_tcp(t, name, n);
	if (level == LEVEL_IP || v6) {
		if (name == (v6 ? IPV6_TCLASS : IP_TOS_OPTION))
			*n = t->options.tos;
		else if (name == (v6 ? IPV6_UNICAST_HOPS : IP_TTL_OPTION))
			*n = t->options.ttl ? t->options.ttl : TCP_TTL;
		else if (name == (v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER))
			*n = PMTUDISC_WANT;
		else if (name == (v6 ? IPV6_MTU : IP_MTU))
			return get_mtu(t, n);
		else
			return -ENOPROTOOPT;
		return 0;
	}
	if (name == SO_ACCEPTCONN)
		*n = t->state == LISTENING;
	else if (name == SO_ZEROCOPY)
		*n = t->zerocopy_on;
	else if (name == SO_KEEPALIVE)
		*n = t->options.keepalive;
	else
		return -ENOPROTOOPT;
	return 0;
}

int tcp_socket_get_option(struct stream *s, int level, int name, void *value, uint32_t *len)
{
	struct tcp_socket *t = tcp_of(s);
	struct tcp_info info;
	const void *from = NULL;
	uint32_t bytes = 0;
	int n, error, linger[2] = {t->linger_on, t->linger_seconds};

	if (level == LEVEL_TCP && name == TCP_CONGESTION) {
		from = congestion;
		bytes = sizeof(congestion);
	} else if (level == LEVEL_TCP && name == TCP_INFO) {
		wtd_disable();
		get_info(t, &info);
		wtd_enable();
		from = &info;
		bytes = sizeof(info);
	} else if (level == SOL_SOCKET && name == SO_LINGER) {
		from = linger;
		bytes = sizeof(linger);
	}
	if (from) {
		*len = MIN(*len, bytes);
		memcpy(value, from, *len);
		return 0;
	}
	wtd_disable();
	error = get_own(t, level, name, &n);
	wtd_enable();
	return error ? socket_get_common(s, level, name, SOCK_STREAM, value, len)
		     : socket_put_int(value, len, n);
}

int tcp_socket_ioctl(struct stream *s, unsigned request, uintptr_t argument)
{
	enum { FIONREAD = 0x541b, TIOCOUTQ = 0x5411 };
	const struct tcp_socket *t = tcp_of(s);
	const struct tcp_pcb *pcb;
	int n;

	if (request != FIONREAD && request != TIOCOUTQ)
		return socket_iface_ioctl(request, argument);
	wtd_disable();
	pcb = connection(t);
	if (request == FIONREAD)
		n = (int)t->in_bytes;
	else
		n = pcb && t->state == OPEN ? (int)(pcb->snd_lbb - pcb->lastack) : 0;
	wtd_enable();
	return t->state == LISTENING ? -EINVAL : user_put(argument, &n);
}
