# SPDX-License-Identifier: BSD-2-Clause
# Redis' server, static with musl from Debian's source package, not changed (tests/e2e/test_redis.py). Kept as what
# tests/programs/programs.mk builds is, which names PROGRAMS and PROGRAMS_CACHE.
REDIS_DIR ?=
REDIS_MK  := tests/programs/redis.mk

$(PROGRAMS)/redis-server: $(REDIS_MK) tools/fetch
	@rm -rf $(PROGRAMS)/redis-src && mkdir -p $(PROGRAMS)/redis-src $(PROGRAMS_CACHE)
	@kept=$(PROGRAMS_CACHE)/redis-7.0.15-static-$$(cksum <$(REDIS_MK) | tr ' ' -) && \
	if [ ! -x "$$kept" ]; then \
		set -e; \
		if [ -n "$(REDIS_DIR)" ]; then cp -R "$(REDIS_DIR)/." $(PROGRAMS)/redis-src/; else \
			tarball=$$(tools/fetch redis redis_7.0.15.orig.tar.gz \
				4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982 \
				REDIS_DIR https://redis.io/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/redis-src --strip-components=1; fi; \
		$(MAKE) -s -j2 -C $(PROGRAMS)/redis-src/src redis-server MALLOC=libc CC=musl-gcc CFLAGS=-w LDFLAGS="-static -s" \
			OPTIMIZATION=-O0 BUILD_TLS=no USE_SYSTEMD=no >$(PROGRAMS)/redis.log 2>&1 || \
			{ tail -20 $(PROGRAMS)/redis.log >&2; exit 1; }; \
		cp $(PROGRAMS)/redis-src/src/redis-server "$$kept.$$$$"; mv "$$kept.$$$$" "$$kept"; \
	fi; \
	cp "$$kept" $@
	@rm -rf $(PROGRAMS)/redis-src

programs: $(PROGRAMS)/redis-server
