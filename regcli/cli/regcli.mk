# Rules for GNU Make, from regcli. Save them with `regcli mk > regcli.mk`, then:
#
#     include regcli.mk
#     data/zoo.fetched: REGCLI_REF = model/zoo:production
#     report.txt: data/zoo.fetched; wc -l data/zoo/* > $@
#
#     model.bin.logged: REGCLI_TYPE = model
#     model.bin.promoted: REGCLI_TO = model/zoo
#     model.bin.promoted: REGCLI_ALIASES = staging
#
# Set the variables on the target itself, as above. A `$` in a value is written `$$`.

# The program, and options for every call.
REGCLI ?= regcli
REGCLI_FLAGS ?= -q

# A value as one word of the shell.
regcli.quote = '$(subst ','\'',$(1))'
regcli.need = $(if $($(1)),,$(error set $(1) on the target $@, as in `$@: $(1) = …`))

# DIR.fetched: the version that REGCLI_REF means, in DIR. Asked at every run, which is cheap, and rewritten only when the
# version has other content; then only what depends on it is made again. `rm DIR.fetched` fetches anew.
# DIR.fetched.d names the single files: `-include DIR.fetched.d` after the first run lets rules depend on those.
%.fetched: regcli.always
	$(call regcli.need,REGCLI_REF)
	@now=$$($(REGCLI) resolve $(call regcli.quote,$(REGCLI_REF)) --digest) || exit; \
	if [ ! -d $(call regcli.quote,$*) ] || [ "$$now" != "$$(cat $(call regcli.quote,$@) 2>/dev/null)" ]; then \
		$(REGCLI) download $(call regcli.quote,$(REGCLI_REF)) -o $(call regcli.quote,$*) \
			--stamp $(call regcli.quote,$@) --depfile $(call regcli.quote,$@.d) $(REGCLI_FLAGS) >/dev/null; \
	fi

# FILE.logged: FILE (or a directory), logged as REGCLI_NAME (default: its name without suffix) of type REGCLI_TYPE. Holds
# the reference of the version. Inputs for the lineage: REGCLI_INPUTS. Other options of `regcli log`: REGCLI_LOG.
%.logged: %
	$(call regcli.need,REGCLI_TYPE)
	@$(REGCLI) log $(call regcli.quote,$*) --name $(call regcli.quote,$(or $(REGCLI_NAME),$(basename $(notdir $*)))) \
		--type $(call regcli.quote,$(REGCLI_TYPE)) $(foreach input,$(REGCLI_INPUTS),--input $(call regcli.quote,$(input))) \
		$(REGCLI_LOG) $(REGCLI_FLAGS) > $(call regcli.quote,$@.tmp) \
		&& mv $(call regcli.quote,$@.tmp) $(call regcli.quote,$@) \
		|| { rm -f $(call regcli.quote,$@.tmp); exit 1; }

# FILE.promoted: the version of FILE.logged, linked into the registry's collection REGCLI_TO with REGCLI_ALIASES. Holds the
# reference of the link.
%.promoted: %.logged
	$(call regcli.need,REGCLI_TO)
	@$(REGCLI) link "$$(cat $(call regcli.quote,$<))" $(call regcli.quote,$(REGCLI_TO)) \
		$(foreach alias,$(REGCLI_ALIASES),--alias $(call regcli.quote,$(alias))) $(REGCLI_FLAGS) \
		> $(call regcli.quote,$@.tmp) && mv $(call regcli.quote,$@.tmp) $(call regcli.quote,$@) \
		|| { rm -f $(call regcli.quote,$@.tmp); exit 1; }

# What was logged is not made again from nothing, and is no scrap.
.PRECIOUS: %.logged %.fetched
.PHONY: regcli.always
