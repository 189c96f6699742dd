"""The Discord bot: slash commands, a context menu and mentions. One feature a file."""
