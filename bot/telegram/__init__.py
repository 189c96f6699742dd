"""The Telegram bot: captions, replies, mentions, albums. One feature a file."""
