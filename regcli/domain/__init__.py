"""The rules: registries, collections, versions, aliases, links, roles. Nothing here talks to a terminal or the environment."""
