"""The subcommands of `thfm`."""
