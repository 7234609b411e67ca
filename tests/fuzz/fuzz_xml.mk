# SPDX-License-Identifier: BSD-2-Clause
# make fuzz-xml          the XML reader beside expat (libexpat1-dev) for FUZZ_SECONDS
# make fuzz-xml-short    a bounded run (fuzz.mk)
FUZZ_XML_SOURCES := tests/fuzz/fuzz_xml.c tests/fuzz/xml_oracle.c server/xml.c server/xml_chars.c server/http_text.c kernel/string.c
build/fuzz/xml: $(FUZZ_XML_SOURCES) tests/fuzz/xml_oracle.h server/xml.h server/http_text.h
	@mkdir -p build/fuzz/corpus-xml
	$(FUZZ_CC) $(FUZZ_FLAGS) -Itests/fuzz -o $@ $(FUZZ_XML_SOURCES) -lexpat

FUZZ_XML_RUN = build/fuzz/xml -dict=tests/fuzz/xml.dict -max_len=2000 -timeout=120 -print_final_stats=1 \
               -artifact_prefix=build/fuzz/

.PHONY: fuzz-xml fuzz-xml-short
fuzz-xml: build/fuzz/xml
	$(FUZZ_XML_RUN) -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus-xml tests/fuzz/corpus-xml
fuzz-xml-short: build/fuzz/xml
	@rm -rf build/fuzz/short-xml && mkdir -p build/fuzz/short-xml
	$(FUZZ_XML_RUN) $(FUZZ_SHORT) -runs=600000 build/fuzz/short-xml tests/fuzz/corpus-xml
