"""What runs in the containers of docker-compose.yml and nowhere else: their secrets, the first step, the last gate."""
