"""A bridge from a TCP socket, such as `nc -lk 9999` serves, to Kafka, which can replay what a socket cannot."""
