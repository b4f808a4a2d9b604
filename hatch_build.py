"""Build hook: experiments go into the wheel as data; an editable install reads them beside the package."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExperimentsHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if version != "editable":
            build_data["force_include"][f"{self.root}/experiments"] = "petl_bench/experiments"
