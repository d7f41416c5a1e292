"""The words of which made-up posts are made: hashtags, and what people say in three moods."""

from __future__ import annotations

TAGS = (
    "seoul", "서울", "따릉이", "bikes", "commute", "coffee", "rain", "sunset", "hanriver", "kpop", "music",
    "nowplaying", "football", "baseball", "esports", "marathon", "running", "hiking", "photography", "art",
    "design", "books", "poetry", "film", "anime", "cats", "dogs", "birds", "gardening", "cooking", "ramen",
    "kimchi", "pizza", "breakfast", "weekend", "monday", "friday", "travel", "train", "airport", "berlin",
    "tokyo", "東京", "paris", "nyc", "science", "space", "physics", "climate", "energy", "python", "spark",
    "kafka", "airflow", "data", "ai", "opensource", "linux", "security", "startups", "economy", "elections",
    "news", "weather", "storm", "heatwave", "snow", "autumn", "spring", "festival", "concert", "museum",
    "history", "language", "teaching", "school", "exam", "work", "remote", "meeting", "deadline", "health",
    "sleep", "yoga", "chess", "boardgames", "retro", "vinyl", "jazz", "techno", "fashion", "sneakers",
    "diy", "woodwork", "maps", "cycling", "traffic", "subway", "market", "street_food", "night", "morning",
    "nofilter",
)  # fmt: skip
CHEERFUL: tuple[str, ...] = (
    "I love this",
    "what a wonderful day",
    "so happy about it",
    "this is great",
    "best thing I saw today",
    "amazing, thank you",
    "a beautiful surprise",
    "proud of everyone here",
    "that made me smile",
)
PLAIN: tuple[str, ...] = (
    "on my way",
    "here we are again",
    "just saw this",
    "second time this week",
    "a thought about it",
    "as every year",
    "who else is there?",
    "notes from today",
    "it is half past nine",
)
CROSS: tuple[str, ...] = (
    "I hate this",
    "what a terrible day",
    "so disappointed",
    "this is awful",
    "worst thing I saw today",
    "angry about it",
    "a horrible mess",
    "tired and sad now",
    "that ruined my evening",
)
CHEERFUL_SIGNS: tuple[str, ...] = (
    "😀",
    "😍",
    "🎉",
    "💚",
    "☀️",
)
PLAIN_SIGNS: tuple[str, ...] = ("", "", "", "🙂")
CROSS_SIGNS: tuple[str, ...] = (
    "😡",
    "😢",
    "💔",
    "👎",
    "🌧️",
)
